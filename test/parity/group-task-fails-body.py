import asyncio
import sys

if not hasattr(asyncio, "TaskGroup"):
    print("asyncio.TaskGroup is there from Python 3.11 on", file=sys.stderr)
    sys.exit(77)


async def fails():
    await asyncio.sleep(0.01)
    raise ValueError("no")


async def main():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            try:
                await asyncio.sleep(10)
                print("never")
            finally:
                print("body stopped")
    except BaseException as failure:
        print("failed:", *failure.exceptions)
    print("the caller goes on")


asyncio.run(main())
