import asyncio


async def task():
    try:
        await asyncio.sleep(10)
    finally:
        raise ValueError("clean-up broke")


async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(task())


async def main():
    running = asyncio.create_task(group())
    await asyncio.sleep(0.01)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        print("group cancelled")
    except BaseExceptionGroup as failures:
        print("group failed:", *failures.exceptions)


asyncio.run(main())
