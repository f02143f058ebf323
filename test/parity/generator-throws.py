import asyncio


async def numbers():
    try:
        yield 0
        raise ValueError("no more")
    finally:
        print("finalised")


async def main():
    try:
        async for n in numbers():
            print("got", n)
    except ValueError as error:
        print("failed:", error)


asyncio.run(main())
