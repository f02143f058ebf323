"""The page of `aio network serve` with aiohttp, on uvloop where it is installed, with the same work for each part. Six
questions at once, each by the policy of its neighbour: the last answer, a deadline of a second, two retries, a bulkhead, a
circuit breaker, and counts. The database is aiosqlite, or sqlite3 in a thread; the cache a dict with expiry; the token is a
JWT, whose ES256 signature is verified once and whose claims are looked at each time; the storage a folder, listed in a
thread; the API JSON that is written, read and checked in process. With `bare` only the deadlines are left of the policy.
Prints its port."""

import asyncio
import base64
import collections
import hashlib
import hmac
import json
import os
import random
import re
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
try:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
except ImportError:
    ec = None

QUERY = "SELECT id, item FROM orders WHERE customer = ? ORDER BY id DESC LIMIT 100"
USER = re.compile(r"[a-z\d][\w@.+-]{0,63}", re.IGNORECASE)
DEADLINE = 1
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

# the issuer


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


if ec is not None:
    private = ec.generate_private_key(ec.SECP256R1())

    def sign(text):
        return private.sign(text, ec.ECDSA(hashes.SHA256()))

    def check(text, signature):
        private.public_key().verify(signature, text, ec.ECDSA(hashes.SHA256()))

else:
    secret = b"secret"

    def sign(text):
        return hmac.new(secret, text, hashlib.sha256).digest()

    def check(text, signature):
        if not hmac.compare_digest(sign(text), signature):
            raise ValueError("signature")


signed = encoded({"alg": "ES256", "typ": "at+jwt", "kid": "1"}) + b"." + encoded(
    {"iss": "issuer", "sub": "aio", "scope": "read write", "jti": "1", "exp": time.time() + 3600}
)
token = signed + b"." + base64.urlsafe_b64encode(sign(signed))
verified = {}
revoked = set()


def claims_of(given):
    known = verified.get(given)
    if known is None:
        text, _, signature = given.rpartition(b".")
        check(text, base64.urlsafe_b64decode(signature))
        known = verified[given] = json.loads(base64.urlsafe_b64decode(text.split(b".")[1] + b"=="))
    return known


# the parts

cache = collections.OrderedDict({"visits:ada": ("41", float("inf"))})
answers = {
    "documents": [{"title": title} for title in ["Note A", "Note B", "Note G", "Letters"]],
    "messages": [{"from": "charles", "text": "the mill is ready"}, {"from": "mary", "text": "dinner at eight?"}],
}


async def orders(app, user):
    if aiosqlite is None:
        return await asyncio.get_running_loop().run_in_executor(None, query, user)
    return await app["database"].execute_fetchall(QUERY, (user,))


def query(user):
    with sqlite3.connect(database) as connection:
        return connection.execute(QUERY, (user,)).fetchall()


async def visits(app, user):
    key = f"visits:{user}"
    entry = cache.get(key)
    if entry is None:
        return 0
    if time.time() >= entry[1]:
        del cache[key]
        return 0
    cache.move_to_end(key)
    return int(entry[0])


async def introspect(app, user):
    known = claims_of(token)
    if known["jti"] in revoked or time.time() >= known["exp"]:
        raise ValueError("the token is not active")
    return known


def listed(user):
    found = []
    with os.scandir(os.path.join(folder, user)) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                found.append((f"{user}/{entry.name}", entry.stat().st_size))
    return sorted(found)


async def storage(app, user):
    return await asyncio.get_running_loop().run_in_executor(None, listed, user)


def checked(text, fields):
    value = json.loads(text)
    if not isinstance(value, list):
        raise ValueError("the answer is not what was expected")
    for one in value:
        if not isinstance(one, dict) or not all(isinstance(one.get(field), str) for field in fields):
            raise ValueError("the answer is not what was expected")
    return value


async def drive(app, user):
    return checked(json.dumps(answers["documents"] if user == "ada" else []), ("title",))


async def chat(app, user):
    return checked(json.dumps(answers["messages"] if user == "ada" else []), ("from", "text"))


said = {
    orders: lambda rows: f"{len(rows)} orders",
    visits: lambda count: f"{count} visits",
    introspect: lambda known: f"{known['sub']}, may {' and '.join(known['scope'].split())}",
    storage: lambda found: f"{len(found)} files, {sum(size for _, size in found) // 1024} KiB",
    drive: lambda documents: f"{len(documents)} documents",
    chat: lambda messages: f"{len(messages)} messages unread",
}

# the policy


class Refused(Exception):
    pass


class Neighbour:
    """Deadline, retries, bulkhead, circuit breaker, last answers, counts: what `Neighbour.Policy` does by default."""

    def __init__(self, question, concurrency):
        self.question = question
        self.places = asyncio.Semaphore(concurrency)
        self.waiting = 0
        self.failures = 0
        self.opened = None
        self.last = collections.OrderedDict()
        self.counts = collections.Counter()
        self.buckets = [0] * 35

    async def attempt(self, app, user):
        if self.places.locked():
            if self.waiting >= 100:
                raise Refused("the bulkhead is full")
            self.waiting += 1
            try:
                await self.places.acquire()
            finally:
                self.waiting -= 1
        else:
            await self.places.acquire()
        try:
            if self.opened is not None:
                if time.monotonic() < self.opened + 10:
                    raise Refused("circuit breaker is open")
                self.opened = time.monotonic()  # this call is the probe
            try:
                answer = await self.question(app, user)
            except asyncio.CancelledError:
                raise
            except OSError:
                self.failures += 1
                if self.failures >= 5:
                    self.opened = time.monotonic()
                raise
            self.failures = 0
            self.opened = None
            return answer
        finally:
            self.places.release()

    async def call(self, app, user):
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(DEADLINE):
                for nth in range(3):
                    try:
                        answer = await self.attempt(app, user)
                        break
                    except OSError:
                        if nth == 2:
                            raise
                        await asyncio.sleep(0.02 * 2**nth * random.random())
            self.counts["succeeded"] += 1
            return answer
        except Exception:
            self.counts["failed"] += 1
            raise
        finally:
            took = (time.perf_counter() - begun) * 1000
            self.buckets[max(0, min(34, int(took).bit_length()))] += 1

    async def call_or_last(self, app, user):
        try:
            answer = await self.call(app, user)
        except Exception:
            if self.question is introspect or user not in self.last:
                raise
            return self.last[user], True
        self.last[user] = answer
        self.last.move_to_end(user)
        if len(self.last) > 1000:
            self.last.popitem(last=False)
        return answer, False


class Bare:
    """A deadline only."""

    def __init__(self, question, concurrency):
        self.question = question

    async def call_or_last(self, app, user):
        async with asyncio.timeout(DEADLINE):
            return await self.question(app, user), False


async def page(request):
    user = request.match_info["user"]
    if USER.fullmatch(user) is None:
        return web.json_response({"error": "not a user"}, status=400)

    async def part(neighbour):
        begun = time.perf_counter()
        try:
            answer, degraded = await neighbour.call_or_last(request.app, user)
            text = said[neighbour.question](answer)
        except Exception as error:
            text, degraded = f"unavailable: {error}", True
        took = (time.perf_counter() - begun) * 1000
        return {"name": neighbour.question.__name__, "took": took, "text": text, "degraded": degraded}

    begun = time.perf_counter()
    parts = await asyncio.gather(*map(part, request.app["neighbours"]))
    total = (time.perf_counter() - begun) * 1000
    whole = {
        "user": user,
        "complete": not any(part["degraded"] for part in parts),
        "total": total,
        "sum": sum(part["took"] for part in parts),
        "parts": parts,
    }
    return web.json_response(whole, headers=HEADERS)


HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:",
}


async def main():
    app = web.Application()
    app.router.add_get("/api/page/{user}", page)
    policy = Bare if "bare" in sys.argv else Neighbour
    app["neighbours"] = [policy(question, 64) for question in said]
    if aiosqlite is not None:
        app["database"] = await aiosqlite.connect(database)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    print(f"{'uvloop' if uvloop else 'asyncio'}, {'aiosqlite' if aiosqlite else 'sqlite3 in a thread'}", file=sys.stderr)
    await asyncio.Event().wait()


if uvloop is not None:
    uvloop.install()
asyncio.run(main())
