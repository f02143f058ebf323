import asyncio


async def main():
    loop = asyncio.get_running_loop()
    when = loop.time() + 0.01
    for n in range(6):
        loop.call_at(when, print, n)
    await asyncio.sleep(0.03)


asyncio.run(main())
