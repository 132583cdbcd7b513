"""The floor of receiving from SQS: receive ten, delete ten, with aiobotocore and nothing else, until all are gone.

    python -m tests.benchmarks.bare_sqs QUEUE_URL POLLERS MESSAGES

Run by `tests.benchmarks.receiving`; region, credentials and endpoint come from AWS's own settings.
"""

import asyncio
import sys
from typing import Any

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session


async def main(url: str, pollers: int, messages: int) -> None:
    left = messages

    async def poll(client: Any) -> None:
        nonlocal left
        while left > 0:
            answer = await client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            if taken := answer.get("Messages"):
                entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(taken)]
                await client.delete_message_batch(QueueUrl=url, Entries=entries)
                left -= len(taken)

    config = AioConfig(max_pool_connections=pollers + 2)
    async with get_session().create_client("sqs", config=config) as client:
        await asyncio.gather(*(poll(client) for _ in range(pollers)))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
