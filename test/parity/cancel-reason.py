import asyncio
import sys

if sys.version_info < (3, 11):
    print("the message of a cancellation reaches the one who awaits from Python 3.11 on", file=sys.stderr)
    sys.exit(77)


async def main():
    task = asyncio.create_task(asyncio.sleep(10))
    await asyncio.sleep(0.01)
    task.cancel("too slow")
    try:
        await task
    except asyncio.CancelledError as error:
        print("cancelled:", error)


asyncio.run(main())
