import asyncio
import sys
import time

count = int(sys.argv[1])


async def main():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    fired = 0

    def callback():
        nonlocal fired
        fired += 1
        if fired == count:
            done.set_result(None)

    begun = time.perf_counter()
    for _ in range(count):
        loop.call_later(0.001, callback)
    await done
    print((time.perf_counter() - begun) * 1000)


asyncio.run(main())
