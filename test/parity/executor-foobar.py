# clock: live
import asyncio
import concurrent.futures
import time


def download(name, seconds):
    time.sleep(seconds)
    return name


async def foobar():
    print("foobar")


async def main():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as executor:
        *names, _ = await asyncio.gather(
            loop.run_in_executor(executor, download, "a", 0.05),
            loop.run_in_executor(executor, download, "b", 0.01),
            foobar(),
        )
    print(*names)


asyncio.run(main())
