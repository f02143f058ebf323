import asyncio
import concurrent.futures
import time


async def main():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        job = loop.run_in_executor(executor, time.sleep, 0.1)
        await asyncio.sleep(0.01)
        print("the loop turns, job done", job.done())
        await job
        print("job done")


asyncio.run(main())
