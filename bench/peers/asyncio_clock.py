"""A virtual day of minute ticks on asyncio, its loop's time jumping to the next deadline: prints ms."""

import asyncio
import selectors
import time


class Jumping(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout=None):
        self.now += timeout or 0
        return super().select(0)


async def day():
    for _ in range(1440):
        await asyncio.sleep(60)


selector = Jumping()
loop = asyncio.SelectorEventLoop(selector)
loop.time = lambda: selector.now
started = time.perf_counter()
loop.run_until_complete(day())
print((time.perf_counter() - started) * 1000)
