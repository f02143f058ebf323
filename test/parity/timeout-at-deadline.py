import asyncio


async def main():
    try:
        await asyncio.wait_for(asyncio.sleep(0.02), 0.02)
        print("made it")
    except asyncio.TimeoutError:
        print("timed out")


asyncio.run(main())
