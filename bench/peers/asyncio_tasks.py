# Starts n tasks in one TaskGroup, each of which yields once, and reads their results: the time in ms.
import asyncio
import sys
import time


async def work():
    await asyncio.sleep(0)
    return 1


async def main(count):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for _ in range(count)]
    assert sum(task.result() for task in tasks) == count


started = time.perf_counter()
asyncio.run(main(int(sys.argv[1])))
print((time.perf_counter() - started) * 1000)
