import asyncio


async def work():
    print("work begins")
    await asyncio.sleep(10)


async def main():
    try:
        await asyncio.wait_for(work(), 0)
    except TimeoutError:
        print("timed out")


asyncio.run(main())
