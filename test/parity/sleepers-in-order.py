import asyncio


async def work(name):
    await asyncio.sleep(0.02)
    print(name)


async def main():
    await asyncio.gather(*[work(name) for name in "abcdef"])


asyncio.run(main())
