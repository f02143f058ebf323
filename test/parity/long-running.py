import asyncio


async def hello_many():
    while True:
        await asyncio.sleep(0.04)
        print("Hello")


async def main():
    task = asyncio.create_task(hello_many())
    print("task running now...")
    await asyncio.sleep(0.1)
    print("we waited")
    task.cancel()
    print("task cancelled")


asyncio.run(main())
