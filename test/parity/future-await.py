import asyncio


async def waiter(name, future):
    print(name, "has", await future)


async def main():
    future = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(waiter(name, future)) for name in "ab"]
    await asyncio.sleep(0.01)
    future.set_result(3)
    print("set")
    try:
        future.set_result(4)
    except asyncio.InvalidStateError:
        print("once only")
    await asyncio.wait(tasks)
    await waiter("late", future)


asyncio.run(main())
