import asyncio


async def main():
    tasks = [asyncio.create_task(asyncio.sleep(delay), name=str(delay)) for delay in (0.01, 0.03)]
    done, pending = await asyncio.wait(tasks, timeout=0.02)
    print("done", *(task.get_name() for task in done), "pending", *(task.get_name() for task in pending))
    for task in pending:
        print("cancelled", task.cancelled())
        await task
        print("it went on")


asyncio.run(main())
