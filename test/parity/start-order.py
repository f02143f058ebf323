import asyncio


async def worker(name, child=None):
    print(name)
    if child is not None:
        asyncio.create_task(worker(child))
        print(name, "goes on")
    await asyncio.sleep(0.01)
    print(name, "ends")


async def main():
    print("main before")
    tasks = [asyncio.create_task(worker(name, child)) for name, child in (("a", "c"), ("b", None))]
    print("main after")
    for task in tasks:
        await task
    await asyncio.sleep(0.01)


asyncio.run(main())
