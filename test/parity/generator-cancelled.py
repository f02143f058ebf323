import asyncio


async def numbers():
    try:
        yield 0
        print("producer waits")
        await asyncio.sleep(10)
        yield 1
    finally:
        print("finalised")


async def consume():
    try:
        async for n in numbers():
            print("got", n)
    finally:
        print("consumer ends")


async def main():
    task = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    print("cancelled", task.cancelled())


asyncio.run(main())
