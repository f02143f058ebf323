import asyncio


async def work():
    try:
        print("work runs")
    finally:
        print("work cleans up")


async def main():
    task = asyncio.create_task(work())
    task.add_done_callback(lambda task: print("callback: cancelled", task.cancelled()))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("main: cancelled")
    await asyncio.sleep(0)


asyncio.run(main())
