import asyncio
import concurrent.futures
import threading
import time


async def main():
    loop = asyncio.get_running_loop()
    running = threading.Event()

    def job():
        running.set()
        time.sleep(0.1)
        print("job ran to its end")

    executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    future = loop.run_in_executor(executor, job)
    running.wait()
    future.cancel()
    try:
        await future
    except asyncio.CancelledError:
        print("job cancelled")
    print(await loop.run_in_executor(executor, lambda: "next job"))
    executor.shutdown()


asyncio.run(main())
