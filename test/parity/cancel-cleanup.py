import asyncio


async def work():
    try:
        print("work runs")
        await asyncio.sleep(10)
    finally:
        print("clean-up begins")
        await asyncio.sleep(0.01)
        print("clean-up ends")


async def main():
    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("main goes on, cancelled", task.cancelled())
    if not task.cancel():
        print("cancelled once only")


asyncio.run(main())
