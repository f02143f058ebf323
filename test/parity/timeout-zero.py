import asyncio
import sys

if not hasattr(asyncio, "timeout"):
    print("asyncio.timeout is there from Python 3.11 on", file=sys.stderr)
    sys.exit(77)


async def main():
    async with asyncio.timeout(0):
        print("nothing to wait for")
    try:
        async with asyncio.timeout(0):
            print("first step")
            try:
                await asyncio.sleep(0.01)
                print("second step")
            finally:
                print("cleans up")
    except TimeoutError:
        print("timed out")


asyncio.run(main())
