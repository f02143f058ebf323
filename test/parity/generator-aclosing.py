import asyncio


async def numbers():
    try:
        for n in range(5):
            yield n
    finally:
        print("finalised")


async def main():
    stream = numbers()
    try:
        async for n in stream:
            print("got", n)
            if n == 1:
                break
    finally:
        await stream.aclose()
    print("after the loop")


asyncio.run(main())
