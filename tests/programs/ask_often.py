"""Asks the supervisor of argv[2] for news three times, for 0.5 s each, with the client that argv[1] names."""

import asyncio
import sys

from supervisor import AsyncClient, Client


async def ask() -> None:
    async with AsyncClient(sys.argv[2], timeout=0.5) as client:
        for _ in range(3):
            revision = (await client.status())["revision"]
            print("asking", flush=True)
            await client.status(since=revision, timeout=0.5)


if sys.argv[1] == "async":
    asyncio.run(ask())
else:
    with Client(sys.argv[2], timeout=0.5) as client:
        for _ in range(3):
            revision = client.status()["revision"]
            print("asking", flush=True)
            client.status(since=revision, timeout=0.5)
print("all answered", flush=True)
