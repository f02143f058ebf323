# clock: live
import asyncio

# More than a pipe holds, on both at once.
script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero"


async def main():
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    print(len(out), len(err))
    process = await asyncio.create_subprocess_exec("true", stdin=asyncio.subprocess.PIPE)
    await process.communicate(b"x" * 300000)
    print("never read its input:", process.returncode)


asyncio.run(main())
