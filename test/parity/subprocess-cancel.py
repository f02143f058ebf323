# clock: live
import asyncio


async def main():
    process = await asyncio.create_subprocess_exec("sleep", "10", stdout=asyncio.subprocess.PIPE)
    task = asyncio.create_task(process.communicate())
    await asyncio.sleep(0.05)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled")
    print("still there" if process.returncode is None else "gone")
    if process.returncode is None:
        process.kill()
        await process.wait()


asyncio.run(main())
