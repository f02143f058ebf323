import asyncio


async def work(seconds):
    try:
        await asyncio.sleep(seconds)
        return "in time"
    finally:
        print("clean-up begins")
        await asyncio.sleep(0.01)
        print("clean-up ends")


async def main():
    print(await asyncio.wait_for(work(0.01), 0.1))
    try:
        await asyncio.wait_for(work(10), 0.01)
    except asyncio.TimeoutError:
        print("timed out")


asyncio.run(main())
