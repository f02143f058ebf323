import asyncio


async def work(name, delay, error=None):
    await asyncio.sleep(delay)
    if error is not None:
        raise ValueError(error)
    return name


async def main():
    for next_done in asyncio.as_completed([work("a", 0.05), work("b", 0.01), work("c", 0.03, "no")]):
        try:
            print(await next_done)
        except ValueError as error:
            print("failed:", error)


asyncio.run(main())
