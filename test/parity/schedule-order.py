import asyncio


async def main():
    loop = asyncio.get_running_loop()
    loop.call_later(0.03, print, "later")
    loop.call_at(loop.time() + 0.015, print, "at")
    loop.call_soon(print, "soon")
    loop.call_soon(print, "soon too")
    print("asked")
    await asyncio.sleep(0.05)


asyncio.run(main())
