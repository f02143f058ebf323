import asyncio
import concurrent.futures
import sys
import time

what, given = sys.argv[1], int(sys.argv[2])


def following(n):
    return n + 1


def burn(n):
    x = n
    for i in range(2_000_000):
        x = (x * 31 + i) & 0xFFFFFFFF
    return x


async def main():
    loop = asyncio.get_running_loop()
    workers = given if what == "cpu" else 2
    with concurrent.futures.ThreadPoolExecutor(max_workers=workers) as executor:
        await asyncio.gather(*[loop.run_in_executor(executor, time.sleep, 0.1) for _ in range(workers)])
        begun = time.perf_counter()
        if what == "cpu":
            await asyncio.gather(*[loop.run_in_executor(executor, burn, n) for n in range(8)])
        else:
            results = await asyncio.gather(*[loop.run_in_executor(executor, following, n) for n in range(given)])
            assert results == list(range(1, given + 1))
        print((time.perf_counter() - begun) * 1000)


asyncio.run(main())
