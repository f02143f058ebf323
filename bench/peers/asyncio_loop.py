import asyncio
import sys
import time
from collections import deque

count = int(sys.argv[1])
limit = 8


async def numbers():
    for n in range(count):
        yield n


async def f(n):
    return n + 1


async def mapped(source, semaphore):
    # Results in order, eight under way at once: what asyncio has for it is a task an element and a semaphore.
    async def one(n):
        try:
            return await f(n)
        finally:
            semaphore.release()

    tasks = deque()
    async for n in source:
        await semaphore.acquire()
        tasks.append(asyncio.create_task(one(n)))
        while tasks and tasks[0].done():
            yield tasks.popleft().result()
    while tasks:
        yield await tasks.popleft()


async def main():
    begun = time.perf_counter()
    total = 0
    async for n in mapped(numbers(), asyncio.Semaphore(limit)):
        total += n
    took = time.perf_counter() - begun
    assert total == count * (count + 1) // 2
    print(took * 1000)


asyncio.run(main())
