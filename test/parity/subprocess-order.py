# clock: live
import asyncio


async def run(*command):
    print("Executing:", *command)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    print(out.decode().strip())


async def main():
    await asyncio.gather(run("sh", "-c", "sleep 0.25; echo slow"), run("echo", "hello"))


asyncio.run(main())
