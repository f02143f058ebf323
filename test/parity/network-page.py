import asyncio


async def answer(seconds, value):
    await asyncio.sleep(seconds)
    if isinstance(value, Exception):
        raise value
    return value


async def main():
    before = asyncio.get_running_loop().time()
    parts = {
        "database": answer(0.05, OSError("connection refused")),
        "cache": answer(0.01, "ok"),
        "storage": answer(10, "ok"),
        "chat": answer(0.03, "ok"),
    }
    answers = await asyncio.gather(
        *[asyncio.wait_for(part, 0.1) for part in parts.values()], return_exceptions=True
    )
    for name, value in zip(parts, answers):
        late = isinstance(value, asyncio.TimeoutError)
        print(name, "no answer within 100 ms" if late else value)
    print("as long as the slowest" if asyncio.get_running_loop().time() - before < 0.19 else "as long as all together")


asyncio.run(main())
