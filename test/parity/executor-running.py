# clock: live
import asyncio
import concurrent.futures
import threading


async def main():
    loop = asyncio.get_running_loop()
    running = threading.Event()
    go = threading.Event()

    def job():
        running.set()
        go.wait()
        print("job ran to its end")

    executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    future = loop.run_in_executor(executor, job)
    running.wait()
    future.cancel()
    try:
        await future
    except asyncio.CancelledError:
        print("job cancelled")
    go.set()
    print(await loop.run_in_executor(executor, lambda: "next job"))
    executor.shutdown()


asyncio.run(main())
