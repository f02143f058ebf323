import asyncio


async def work(name, delay):
    await asyncio.sleep(delay)
    print(name, "ends")


async def main():
    tasks = {name: asyncio.create_task(work(name, delay)) for name, delay in (("a", 0.05), ("b", 0.01), ("c", 0.03))}

    def names(found):
        return [name for name in tasks if tasks[name] in found]

    pending = set(tasks.values())
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        print("done", *names(done), "pending", *names(pending))


asyncio.run(main())
