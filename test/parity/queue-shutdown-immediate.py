import asyncio
import sys

if not hasattr(asyncio.Queue, "shutdown"):
    print("asyncio.Queue.shutdown is there from Python 3.13 on", file=sys.stderr)
    sys.exit(77)


async def main():
    queue = asyncio.Queue()
    queue.put_nowait(0)
    queue.shutdown(immediate=True)
    try:
        print("got", await queue.get())
    except asyncio.QueueShutDown:
        print("dropped and shut down")


asyncio.run(main())
