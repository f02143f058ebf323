import asyncio
import sys

if not hasattr(asyncio.Queue, "shutdown"):
    print("asyncio.Queue.shutdown is there from Python 3.13 on", file=sys.stderr)
    sys.exit(77)


async def taker(name, queue):
    try:
        print(name, "got", await queue.get())
    except asyncio.QueueShutDown:
        print(name, "shut down")


async def main():
    queue = asyncio.Queue()
    tasks = [asyncio.create_task(taker(name, queue)) for name in "ab"]
    await asyncio.sleep(0.01)
    queue.shutdown()
    await asyncio.wait(tasks)


asyncio.run(main())
