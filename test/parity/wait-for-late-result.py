import asyncio


async def work():
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "late result"


async def main():
    try:
        print(await asyncio.wait_for(work(), 0.01))
    except TimeoutError:
        print("timed out")


asyncio.run(main())
