import asyncio
import sys
import time

count, limit = int(sys.argv[1]), int(sys.argv[2])


async def run():
    process = await asyncio.create_subprocess_exec(
        "/bin/true", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()


async def main():
    jobs = iter(range(count))

    async def lane():
        for _ in jobs:
            await run()

    await run()
    begun = time.perf_counter()
    await asyncio.gather(*[lane() for _ in range(limit)])
    print((time.perf_counter() - begun) * 1000)


asyncio.run(main())
