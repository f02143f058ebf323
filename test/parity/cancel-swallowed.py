import asyncio


async def work():
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        print("work is asked to stop")
    await asyncio.sleep(0.01)
    print("work goes on")


async def main():
    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    print("cancelled" if task.cancelled() else "succeeded")


asyncio.run(main())
