import asyncio


async def work():
    try:
        await asyncio.sleep(10)
    finally:
        print("work cleans up")


async def main():
    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    print("cancel returns")
    await asyncio.wait([task])


asyncio.run(main())
