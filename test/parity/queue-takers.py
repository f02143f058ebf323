import asyncio


async def taker(name, queue):
    print(name, "got", await queue.get())


async def main():
    queue = asyncio.Queue()
    tasks = [asyncio.create_task(taker(name, queue)) for name in "abc"]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    for n in range(2):
        queue.put_nowait(n)
    await asyncio.wait(tasks)


asyncio.run(main())
