import asyncio


async def commit():
    try:
        print("commit begins")
        await asyncio.sleep(0.03)
        print("commit ends")
    except asyncio.CancelledError:
        print("commit cancelled")


async def caller():
    try:
        await asyncio.shield(commit())
    finally:
        print("caller ends")


async def main():
    task = asyncio.create_task(caller())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    print("caller cancelled", task.cancelled())
    await asyncio.sleep(0.05)


asyncio.run(main())
