import asyncio


async def worker(name):
    for step in range(3):
        print(name, step)
        await asyncio.sleep(0)


async def main():
    tasks = [asyncio.create_task(worker(name)) for name in "ab"]
    for task in tasks:
        await task


asyncio.run(main())
