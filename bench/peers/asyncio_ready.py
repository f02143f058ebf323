# Gathers n ready coroutines: the time in ms, of the first time or, with `warm`, of the median of ten more.
# With `waiting`: starts n tasks that wait, and prints the time until all do and are cancelled.
import asyncio
import sys
import time

count = int(sys.argv[1])
mode = sys.argv[2] if len(sys.argv) > 2 else ""


async def ready(n):
    return n


async def gathered():
    await asyncio.gather(*[ready(n) for n in range(count)])


async def waiting():
    tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def timed():
    started = time.perf_counter()
    asyncio.run(waiting() if mode == "waiting" else gathered())
    return (time.perf_counter() - started) * 1000


cold = timed()
print(sorted(timed() for _ in range(10))[5] if mode == "warm" else cold)
