import asyncio


async def work(name, semaphore, delay):
    async with semaphore:
        print(name, "in")
        await asyncio.sleep(delay)
        print(name, "out")


async def main():
    semaphore = asyncio.Semaphore(2)
    await asyncio.gather(*[work(name, semaphore, delay) for name, delay in zip("abcd", (0.01, 0.03, 0.04, 0.05))])


asyncio.run(main())
