# clock: live
import asyncio
import concurrent.futures


def job(name):
    if name == "b":
        raise ValueError("no " + name)
    return name


async def run(executor, name):
    try:
        print(await asyncio.get_running_loop().run_in_executor(executor, job, name))
    except ValueError as error:
        print("failed:", error)


async def main():
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        await asyncio.gather(*[run(executor, name) for name in "abcd"])


asyncio.run(main())
