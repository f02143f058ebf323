import asyncio


async def main():
    process = await asyncio.create_subprocess_exec("sleep", "10", stdout=asyncio.subprocess.PIPE)
    try:
        await asyncio.wait_for(process.communicate(), 0.05)
    except asyncio.TimeoutError:
        print("timed out")
    print("still there" if process.returncode is None else "gone")
    if process.returncode is None:
        process.kill()
        await process.wait()


asyncio.run(main())
