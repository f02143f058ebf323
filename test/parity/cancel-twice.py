import asyncio


async def work():
    try:
        await asyncio.sleep(10)
    finally:
        print("clean-up begins")
        await asyncio.sleep(0.02)
        print("clean-up ends")


async def main():
    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    print("cancel again")
    task.cancel()
    await asyncio.wait([task])
    print("over")


asyncio.run(main())
