import asyncio
import sys
import time

count = int(sys.argv[1])
limit = int(sys.argv[2]) if len(sys.argv) > 2 else 0


async def item(i):
    return i


async def bounded(semaphore, i):
    async with semaphore:
        return await item(i)


async def main():
    begun = time.perf_counter()
    if limit:
        semaphore = asyncio.Semaphore(limit)
        results = await asyncio.gather(*[bounded(semaphore, i) for i in range(count)])
    else:
        results = await asyncio.gather(*[item(i) for i in range(count)])
    took = time.perf_counter() - begun
    assert results == list(range(count))
    print(took * 1000)


asyncio.run(main())
