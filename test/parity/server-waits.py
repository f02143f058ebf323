import asyncio


async def handle(reader, writer):
    milliseconds = int(await reader.readline())
    await asyncio.sleep(milliseconds / 1000)
    writer.write(b"waited %d ms\n" % milliseconds)
    await writer.drain()
    writer.close()


async def ask(port, milliseconds):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d\n" % milliseconds)
    print((await reader.readline()).decode().strip())
    writer.close()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before = asyncio.get_running_loop().time()
    await asyncio.gather(ask(port, 150), ask(port, 50), ask(port, 100))
    print("at once" if asyncio.get_running_loop().time() - before < 0.29 else "one after the other")
    server.close()


asyncio.run(main())
