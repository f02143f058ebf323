import asyncio


async def main():
    loop = asyncio.get_running_loop()
    handle = loop.call_soon(print, "runs")
    await asyncio.sleep(0.01)
    handle.cancel()
    print("cancelled", handle.cancelled())


asyncio.run(main())
