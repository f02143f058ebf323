import asyncio


async def handle(reader, writer):
    await reader.readline()
    print("handler runs")
    try:
        await asyncio.sleep(0.1)
        print("handler ran to its end")
    except asyncio.CancelledError:
        print("handler cancelled")
    writer.close()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\n")
    await asyncio.sleep(0.05)
    writer.close()
    print("client has gone")
    await asyncio.sleep(0.1)
    server.close()


asyncio.run(main())
