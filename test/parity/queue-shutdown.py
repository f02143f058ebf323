import asyncio
import sys

if not hasattr(asyncio.Queue, "shutdown"):
    print("asyncio.Queue.shutdown is there from Python 3.13 on", file=sys.stderr)
    sys.exit(77)


async def taker(queue):
    while True:
        try:
            print("got", await queue.get())
        except asyncio.QueueShutDown:
            print("taker: shut down")
            return


async def main():
    queue = asyncio.Queue()
    for n in range(2):
        queue.put_nowait(n)
    queue.shutdown()
    try:
        queue.put_nowait(2)
    except asyncio.QueueShutDown:
        print("put refused")
    await taker(queue)


asyncio.run(main())
