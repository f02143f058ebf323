# clock: live
import asyncio


async def main():
    for script in ("exit 3", "echo out; echo err >&2; exit 0"):
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        print(process.returncode, *out.decode().split(), *err.decode().split())
    try:
        await asyncio.create_subprocess_exec("no-such-program-anywhere")
    except FileNotFoundError:
        print("not found")


asyncio.run(main())
