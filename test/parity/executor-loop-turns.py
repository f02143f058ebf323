# clock: live
import asyncio
import concurrent.futures
import threading


async def main():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        go = threading.Event()
        job = loop.run_in_executor(executor, go.wait)
        await asyncio.sleep(0.01)
        print("the loop turns, job done", job.done())
        go.set()
        await job
        print("job done")


asyncio.run(main())
