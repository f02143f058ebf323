import asyncio
import os
import sys

import aiohttp

folder, limit = sys.argv[1], int(sys.argv[2])


async def main():
    semaphore = asyncio.Semaphore(limit)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit)) as session:

        async def download(url):
            async with semaphore:
                async with session.get(url) as response:
                    response.raise_for_status()
                    body = await response.read()
            with open(os.path.join(folder, url.rsplit("/", 1)[1]), "wb") as file:
                file.write(body)

        await asyncio.gather(*[download(url.strip()) for url in sys.stdin])


asyncio.run(main())
