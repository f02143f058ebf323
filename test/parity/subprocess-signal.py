# clock: live
import asyncio


async def main():
    process = await asyncio.create_subprocess_exec("sh", "-c", "kill -TERM $$")
    print(await process.wait())


asyncio.run(main())
