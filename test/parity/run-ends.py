import asyncio


async def background():
    try:
        await asyncio.sleep(10)
    finally:
        print("background cancelled")
        await asyncio.sleep(0.01)
        print("background cleaned up")


async def main():
    task = asyncio.create_task(background())
    await asyncio.sleep(0.01)
    print("main ends", task.done())


asyncio.run(main())
print("run returns")
