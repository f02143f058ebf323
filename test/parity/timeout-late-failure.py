import asyncio


async def main():
    try:
        async with asyncio.timeout(0.01):
            try:
                await asyncio.sleep(10)
            finally:
                raise ValueError("clean-up broke")
    except TimeoutError:
        print("timed out")
    except ValueError as error:
        print(error)


asyncio.run(main())
