import asyncio
import os
import signal
import sys

if sys.version_info < (3, 11):
    print("asyncio.run cancels the main task on SIGINT from Python 3.11 on", file=sys.stderr)
    sys.exit(77)


async def background():
    try:
        await asyncio.sleep(10)
    finally:
        print("background cleans up")


async def main():
    task = asyncio.create_task(background())
    try:
        await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(0.01)
        print("main cleans up", task.done())


try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
