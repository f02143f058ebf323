import asyncio


async def numbers():
    try:
        for n in range(5):
            yield n
    finally:
        print("finalised")


async def main():
    async for n in numbers():
        print("got", n)
        if n == 1:
            break
    print("after the loop")
    await asyncio.sleep(0.01)


asyncio.run(main())
