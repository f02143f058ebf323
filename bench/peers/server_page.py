# server_page.py: aiohttp on uvloop, as server.mjs hello: prints its port, and its CPU time in ms for each line on stdin.
import asyncio
import json
import os
import sys
import threading

import uvloop
from aiohttp import web


async def hello(_):
    return web.Response(text="hello")


async def main():
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def answer():
    for _ in sys.stdin:
        times = os.times()
        print(json.dumps({"cpu": (times.user + times.system) * 1000}), flush=True)
    os._exit(0)


threading.Thread(target=answer, daemon=True).start()
uvloop.install()
asyncio.run(main())
