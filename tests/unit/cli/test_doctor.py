"""What `milepost doctor` says of the settings."""

from typing import Any

import pytest

from milepost.cli.doctor import _authentication
from milepost.config import Config

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/events"


@pytest.mark.parametrize(
    ("settings", "ok", "said"),
    [
        ({}, False, "none is configured"),
        ({"insecure": True}, True, "none is configured"),
        ({"webhook_api_key": "key"}, True, "configured"),
        ({"sqs_queue_url": QUEUE}, True, "no webhook is let in"),
        ({"sqs_queue_url": QUEUE, "insecure": True}, True, "none is configured"),
        ({"sqs_queue_url": QUEUE, "webhook_api_key": "key"}, True, "configured"),
    ],
)
def test_who_may_send_webhooks(settings: dict[str, Any], ok: bool, said: str) -> None:
    finding = _authentication(Config(**settings))
    assert (finding.ok, said in finding.found) == (ok, True)
