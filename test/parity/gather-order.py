import asyncio


async def work(name, delay):
    await asyncio.sleep(delay)
    print(name, "ends")
    return name


async def main():
    print(*await asyncio.gather(work("a", 0.03), work("b", 0.01), work("c", 0.02)))


asyncio.run(main())
