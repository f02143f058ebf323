import asyncio


async def work(name, delay, error=None):
    try:
        await asyncio.sleep(delay)
        if error is not None:
            raise ValueError(error)
        return name
    finally:
        print(name, "ends")


async def main():
    outcomes = await asyncio.gather(
        work("a", 0.03), work("b", 0.01, "early"), work("c", 0.02, "late"), return_exceptions=True
    )
    for outcome in outcomes:
        print(f"failed: {outcome}" if isinstance(outcome, ValueError) else outcome)


asyncio.run(main())
