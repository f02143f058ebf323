import asyncio


async def fail(name):
    await asyncio.sleep(0)
    raise ValueError(name)


async def main():
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail("a"))
            tasks.create_task(fail("b"))
    except BaseExceptionGroup as failures:
        print("failed:", *failures.exceptions)


asyncio.run(main())
