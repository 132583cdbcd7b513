"""The SQS for load does what a receiver relies on, seen through a real client."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiobotocore.session import get_session
from aiohttp import web
from botocore.exceptions import ClientError
from tests.sqs_fake import Sqs


@pytest.fixture
async def sqs() -> AsyncIterator[Any]:
    runner = web.AppRunner(Sqs().app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with get_session().create_client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    ) as client:
        yield client
    await runner.cleanup()


async def test_a_message_is_hidden_until_it_is_deleted_or_shown_again(sqs: Any) -> None:
    url = (await sqs.create_queue(QueueName="events"))["QueueUrl"]
    await sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": f"body {n}"} for n in range(3)]
    )
    taken = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1))["Messages"]
    assert [m["Body"] for m in taken] == ["body 0", "body 1", "body 2"]
    assert "Messages" not in await sqs.receive_message(QueueUrl=url)
    entries = [{"Id": "0", "ReceiptHandle": taken[0]["ReceiptHandle"]}]
    assert (await sqs.delete_message_batch(QueueUrl=url, Entries=entries))["Successful"] == [{"Id": "0"}]
    shown = [
        {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0}
        for n, m in enumerate(taken)
    ]
    answer = await sqs.change_message_visibility_batch(QueueUrl=url, Entries=shown)
    assert [e["Id"] for e in answer["Failed"]] == ["0"]
    asked = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["ApproximateReceiveCount"]}
    again = (await sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, **asked))["Messages"]
    assert [m["Body"] for m in again] == ["body 1", "body 2"]
    assert again[0]["Attributes"] == {"ApproximateReceiveCount": "2"}


async def test_a_queue_that_is_not_there(sqs: Any) -> None:
    with pytest.raises(ClientError) as caught:
        await sqs.get_queue_url(QueueName="nobody's")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
