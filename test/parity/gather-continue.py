import asyncio


async def work(name, delay, error=None):
    await asyncio.sleep(delay)
    print(name, "ends")
    if error is not None:
        raise ValueError(error)


async def main():
    try:
        await asyncio.gather(work("a", 0.03, "late"), work("b", 0.01, "early"), work("c", 0.05))
    except ValueError as error:
        print("failed:", error)
    await asyncio.sleep(0.1)


asyncio.run(main())
