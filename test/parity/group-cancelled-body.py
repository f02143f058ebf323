import asyncio


async def task():
    try:
        await asyncio.sleep(0.02)
        print("task ends")
    except asyncio.CancelledError:
        print("task cancelled")
        raise


async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(task())
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.05)
            print("body has cleaned up")


async def main():
    running = asyncio.create_task(group())
    await asyncio.sleep(0.01)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        print("group cancelled")


asyncio.run(main())
