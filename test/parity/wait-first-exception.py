import asyncio


async def work(name, delay, error=None):
    await asyncio.sleep(delay)
    print(name, "ends")
    if error is not None:
        raise ValueError(error)


async def main():
    tasks = {
        name: asyncio.create_task(work(name, delay, error))
        for name, delay, error in (("a", 0.01, None), ("b", 0.03, "no"), ("c", 0.05, None))
    }

    def names(found):
        return [name for name in tasks if tasks[name] in found]

    done, pending = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
    print("done", *names(done), "pending", *names(pending))
    done, pending = await asyncio.wait(tasks.values())
    print("done", *names(done), "pending", *names(pending))
    print("b:", tasks["b"].exception())


asyncio.run(main())
