"""The page of `aio network serve` with aiohttp, on uvloop where it is installed: six questions at once, each with a deadline.
The database is aiosqlite, or sqlite3 in a thread; the cache a dict; the token is checked by HMAC, which is cheaper than a
signature; the storage a folder, listed in a thread; the API JSON in process. Prints its port."""

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import tempfile
import time

from aiohttp import web

try:
    import uvloop
except ImportError:
    uvloop = None
try:
    import aiosqlite
except ImportError:
    aiosqlite = None

QUERY = "SELECT id, item FROM orders WHERE customer = ? ORDER BY id DESC LIMIT 100"
folder = tempfile.mkdtemp()
database = os.path.join(folder, "data.sqlite")
with sqlite3.connect(database) as made:
    made.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer VARCHAR(64), item VARCHAR(200))")
    made.execute("CREATE INDEX orders_by_customer ON orders (customer, id)")
    for row in [(1833, "ada", "difference engine"), (1842, "ada", "punched cards"), (1843, "ada", "notes on a sketch")]:
        made.execute("INSERT INTO orders VALUES (?, ?, ?)", row)
files = os.path.join(folder, "ada")
os.mkdir(files)
for name, size in [("portrait.png", 48128), ("notes.txt", 3072)]:
    with open(os.path.join(files, name), "wb") as file:
        file.write(b"\0" * size)

cache = {"visits:ada": "41"}
secret = b"secret"
claims = json.dumps({"sub": "aio", "scope": "read write", "exp": time.time() + 600}).encode()
token = (claims, hmac.new(secret, claims, hashlib.sha256).digest())
answers = {
    "documents": json.dumps([{"title": title} for title in ["Note A", "Note B", "Note G", "Letters"]]),
    "messages": json.dumps([{"from": "charles", "text": "the mill is ready"}, {"from": "mary", "text": "dinner?"}]),
}


async def orders(app, user):
    if aiosqlite is None:
        return await asyncio.get_running_loop().run_in_executor(None, query, user)
    async with app["database"].execute(QUERY, (user,)) as cursor:
        return f"{len(await cursor.fetchall())} orders"


def query(user):
    with sqlite3.connect(database) as connection:
        return f"{len(connection.execute(QUERY, (user,)).fetchall())} orders"


async def visits(app, user):
    return f"{int(cache.get(f'visits:{user}', 0))} visits"


async def introspect(app, user):
    text, signature = token
    if not hmac.compare_digest(hmac.new(secret, text, hashlib.sha256).digest(), signature):
        raise ValueError("signature")
    known = json.loads(text)
    return f"{known['sub']}, may {known['scope']}"


def listed(user):
    with os.scandir(os.path.join(folder, user)) as entries:
        return f"{sum(entry.stat().st_size for entry in entries)} bytes"


async def storage(app, user):
    return await asyncio.get_running_loop().run_in_executor(None, listed, user)


async def drive(app, user):
    return f"{len(json.loads(answers['documents']))} documents"


async def chat(app, user):
    return f"{len(json.loads(answers['messages']))} messages unread"


async def page(request):
    user = request.match_info["user"]

    async def part(question):
        begun = time.perf_counter()
        try:
            text = await asyncio.wait_for(question(request.app, user), timeout=1)
            degraded = False
        except Exception as error:
            text, degraded = f"unavailable: {error}", True
        took = (time.perf_counter() - begun) * 1000
        return {"name": question.__name__, "took": took, "text": text, "degraded": degraded}

    begun = time.perf_counter()
    parts = await asyncio.gather(*map(part, [orders, visits, introspect, storage, drive, chat]))
    total = (time.perf_counter() - begun) * 1000
    whole = {
        "user": user,
        "complete": not any(part["degraded"] for part in parts),
        "total": total,
        "sum": sum(part["took"] for part in parts),
        "parts": parts,
    }
    return web.json_response(whole)


async def main():
    app = web.Application()
    app.router.add_get("/api/page/{user}", page)
    if aiosqlite is not None:
        app["database"] = await aiosqlite.connect(database)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    print(f"{'uvloop' if uvloop else 'asyncio'}, {'aiosqlite' if aiosqlite else 'sqlite3 in a thread'}", file=sys.stderr)
    await asyncio.Event().wait()


if uvloop is not None:
    uvloop.install()
asyncio.run(main())
