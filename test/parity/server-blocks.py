import asyncio
import time


async def handle(reader, writer):
    if await reader.readline() == b"block\n":
        time.sleep(0.1)
        writer.write(b"blocked\n")
    else:
        await asyncio.sleep(0.02)
        writer.write(b"waited\n")
    await writer.drain()
    writer.close()


async def ask(port, what):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    before = time.monotonic()
    writer.write(what + b"\n")
    answer = (await reader.readline()).decode().strip()
    print(answer, "and it took long" if time.monotonic() - before >= 0.1 else "and it took short")
    writer.close()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(ask(port, b"block"), ask(port, b"wait"))
    server.close()


asyncio.run(main())
