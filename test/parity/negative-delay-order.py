import asyncio


async def main():
    loop = asyncio.get_running_loop()
    loop.call_later(0, print, "zero")
    loop.call_later(-1, print, "minus one")
    loop.call_soon(print, "soon")
    await asyncio.sleep(0.01)


asyncio.run(main())
