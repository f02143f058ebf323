"""A virtual day of minute ticks on trio's MockClock that jumps by itself: prints ms."""

import time

import trio
import trio.testing


async def day():
    for _ in range(1440):
        await trio.sleep(60)


started = time.perf_counter()
trio.run(day, clock=trio.testing.MockClock(autojump_threshold=0))
print((time.perf_counter() - started) * 1000)
