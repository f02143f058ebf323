import asyncio
import contextvars

request = contextvars.ContextVar("request", default="none")


async def work(name):
    print(name, "inherits", request.get())
    request.set(name)
    await asyncio.sleep(0.01)
    print(name, "has", request.get())


async def main():
    request.set("main")
    tasks = [asyncio.create_task(work(name)) for name in "ab"]
    for task in tasks:
        await task
    print("main has", request.get())


asyncio.run(main())
