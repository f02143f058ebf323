import asyncio


async def main():
    loop = asyncio.get_running_loop()
    handle = loop.call_later(30 * 86400, print, "a month later")
    await asyncio.sleep(0.02)
    print("not yet")
    handle.cancel()


asyncio.run(main())
