import asyncio


async def yielding():
    for idx in range(3):
        print("before yield", idx)
        yield idx
    print("producer ends")


async def main():
    numbers = yielding()
    print("made")
    async for idx in numbers:
        print("got", idx)
        await asyncio.sleep(0.01)


asyncio.run(main())
