import asyncio
import warnings

warnings.showwarning = lambda message, *_: print("never ran:", str(message).split("'")[1])


async def work():
    print("work")


async def main():
    work()
    print("main goes on")


asyncio.run(main())
