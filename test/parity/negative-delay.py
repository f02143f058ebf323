import asyncio


async def main():
    loop = asyncio.get_running_loop()
    loop.call_later(-1, print, "minus one")
    print("asked")
    await asyncio.sleep(0.01)
    loop.call_later(0, print, "zero")
    print("asked")
    await asyncio.sleep(-1)
    await asyncio.sleep(0.01)


asyncio.run(main())
