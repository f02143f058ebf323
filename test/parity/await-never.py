import asyncio
import warnings

warnings.showwarning = lambda message, *_: print("never ran:", str(message).split("'")[1])


async def print_foobar1():
    print("foobar1")


async def print_foobar2():
    print("foobar2")


async def foobar():
    await print_foobar1()
    print_foobar2()


async def main():
    await foobar()
    print_foobar1()


asyncio.run(main())
