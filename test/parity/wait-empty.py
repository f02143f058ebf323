import asyncio


async def main():
    try:
        done, pending = await asyncio.wait([])
        print(len(done), len(pending))
    except ValueError:
        print("refused")


asyncio.run(main())
