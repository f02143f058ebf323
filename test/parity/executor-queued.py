# clock: live
import asyncio
import concurrent.futures
import threading

ran = []


def job(name, go=None):
    ran.append(name)
    if go is not None:
        go.wait()


async def main():
    loop = asyncio.get_running_loop()
    go = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        first = loop.run_in_executor(executor, job, "first", go)
        second = loop.run_in_executor(executor, job, "second")
        third = loop.run_in_executor(executor, job, "third")
        await asyncio.sleep(0.01)
        second.cancel()
        try:
            await second
        except asyncio.CancelledError:
            print("second cancelled")
        await asyncio.sleep(0.01)
        go.set()
        await first
        await third
    print("ran", *ran)


asyncio.run(main())
