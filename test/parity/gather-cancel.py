import asyncio
import sys

if not hasattr(asyncio, "TaskGroup"):
    print("asyncio.TaskGroup is there from Python 3.11 on", file=sys.stderr)
    sys.exit(77)


async def fails():
    await asyncio.sleep(0.02)
    print("a fails")
    raise ValueError("no")


async def sibling():
    try:
        await asyncio.sleep(10)
    finally:
        print("b is cancelled")
        await asyncio.sleep(0.01)
        print("b has cleaned up")


async def quick():
    print("c ends")


async def main():
    try:
        async with asyncio.TaskGroup() as group:
            for work in (fails(), sibling(), quick()):
                group.create_task(work)
    except BaseException as failure:
        print("failed:", *failure.exceptions)


asyncio.run(main())
