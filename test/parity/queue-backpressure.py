import asyncio


async def producer(queue):
    for n in range(4):
        await queue.put(n)
        print("put", n)


async def main():
    queue = asyncio.Queue(maxsize=2)
    task = asyncio.create_task(producer(queue))
    await asyncio.sleep(0.01)
    print("full")
    for _ in range(4):
        print("got", await queue.get())
        await asyncio.sleep(0.01)
    await task


asyncio.run(main())
