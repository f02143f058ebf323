import asyncio


async def work():
    print("work")
    return 3


async def main():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: print("reported:", context["exception"]))
    task = asyncio.create_task(work())

    def broken(task):
        print("first")
        raise ValueError("broken")

    task.add_done_callback(broken)
    task.add_done_callback(lambda task: print("second", task.result()))
    print("main waits")
    await asyncio.sleep(0.01)
    task.add_done_callback(lambda task: print("late"))
    print("main goes on")
    await asyncio.sleep(0.01)


asyncio.run(main())
