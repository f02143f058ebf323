import asyncio


async def work():
    raise ValueError("lost")


async def main():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: print("reported:", context["exception"]))
    asyncio.create_task(work())
    await asyncio.sleep(0.01)
    print("main goes on")


asyncio.run(main())
print("over")
