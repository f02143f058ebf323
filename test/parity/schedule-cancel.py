import asyncio


async def main():
    loop = asyncio.get_running_loop()
    first = loop.call_later(0.01, print, "first")
    second = loop.call_later(0.02, print, "second")
    third = loop.call_soon(print, "third")
    second.cancel()
    third.cancel()
    print("cancelled", second.cancelled(), third.cancelled(), first.cancelled())
    await asyncio.sleep(0.04)
    first.cancel()
    print("over")


asyncio.run(main())
