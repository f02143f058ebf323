import asyncio


async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: print("reported:", context["exception"]))

    def broken():
        print("first")
        raise ValueError("broken")

    loop.call_soon(broken)
    loop.call_soon(print, "second")
    await asyncio.sleep(0.01)
    print("main goes on")


asyncio.run(main())
