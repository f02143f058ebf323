import asyncio


async def work(name, delay):
    try:
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(delay)
        print(name, "has cleaned up")


async def main():
    task = asyncio.ensure_future(asyncio.gather(work("a", 0.01), work("b", 0.03)))
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("gather is cancelled")
    await asyncio.sleep(0.05)


asyncio.run(main())
