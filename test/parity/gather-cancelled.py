import asyncio


async def work(name):
    try:
        await asyncio.sleep(10)
    finally:
        print(name, "cleans up")


async def main():
    task = asyncio.ensure_future(asyncio.gather(work("a"), work("b")))
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("gather is cancelled")


asyncio.run(main())
