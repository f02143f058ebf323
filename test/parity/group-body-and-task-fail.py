import asyncio
import sys

if not hasattr(asyncio, "TaskGroup"):
    print("asyncio.TaskGroup is there from Python 3.11 on", file=sys.stderr)
    sys.exit(77)


async def work():
    try:
        await asyncio.sleep(10)
    finally:
        raise ValueError("work")


async def main():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            await asyncio.sleep(0.01)
            raise ValueError("body")
    except BaseExceptionGroup as failure:
        print("failed:", *sorted(str(one) for one in failure.exceptions))


asyncio.run(main())
