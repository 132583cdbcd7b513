"""Where a queue is, as its URL and AWS's settings say it; and that nothing of AWS is loaded before it is needed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.partner_bus import PartnerBus

from milepost.transports.sqs_queue import Queue, QueueError, region_of


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.us-east-1.amazonaws.com/123456789012/q", "us-east-1"),
        ("https://sqs.ap-southeast-2.amazonaws.com/123456789012/q", "ap-southeast-2"),
        ("https://sqs.us-gov-west-1.amazonaws.com/123456789012/q", "us-gov-west-1"),
        ("https://sqs-fips.us-east-2.amazonaws.com/123456789012/q", "us-east-2"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1"),
        ("https://sqs.eu-central-1.api.aws/123456789012/q", "eu-central-1"),
        ("https://vpce-1-a.sqs.eu-west-1.vpce.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://queue.amazonaws.com/123456789012/q", "us-east-1"),
        ("http://127.0.0.1:9324/000000000000/q", None),
        ("https://sqs.us-east-1.example.com/1/q", None),
        ("q", None),
    ],
)
def test_the_region_is_the_one_in_the_url(url: str, region: str | None) -> None:
    assert region_of(url) == region


async def test_an_endpoint_of_the_settings_is_asked_for_a_queue_at_amazon(
    bus: PartnerBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.client("sqs", "eu-west-1").create_queue(QueueName="q")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", bus.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    here = Queue(
        "https://sqs.eu-west-1.amazonaws.com/123456789012/q", wait_s=0, visibility_s=30, connections=2
    )
    assert await here.receive() == []
    await here.close()
    other = Queue(
        "https://sqs.eu-west-2.amazonaws.com/123456789012/q", wait_s=0, visibility_s=30, connections=2
    )
    with pytest.raises(QueueError) as missing:
        await other.receive()
    assert missing.value.kind == "missing"
    await other.close()


async def test_credentials_that_are_not_there_are_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-this")
    queue = Queue("https://sqs.us-east-1.amazonaws.com/1/q", wait_s=0, visibility_s=30, connections=2)
    with pytest.raises(QueueError, match="nobody-has-this") as refused:
        await queue.receive()
    assert refused.value.kind == "denied"
    await queue.close()


def test_nothing_of_aws_is_loaded_before_it_is_needed() -> None:
    code = "import sys, milepost.transports.sqs; sys.exit('aiobotocore' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
