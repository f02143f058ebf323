import asyncio


async def inner():
    try:
        await asyncio.wait_for(asyncio.sleep(10), 1)
    except asyncio.TimeoutError:
        print("inner timed out")
    finally:
        print("inner ends")


async def main():
    try:
        await asyncio.wait_for(inner(), 0.02)
    except asyncio.TimeoutError:
        print("outer timed out")


asyncio.run(main())
