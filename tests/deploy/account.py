"""An AWS account of the test's own: a fake with a partner event source of Buy with Prime, and a stack for it.

`Account` publishes as the partner does, and looks around as `milepost doctor --aws` does. What a test breaks, it
breaks with a real client.
"""

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.deploy.stack import deploy
from tests.partner_bus import ACCOUNT, REGION, PartnerBus

from milepost.domain.finding import Finding
from milepost.transports.aws_reading import AwsReader
from milepost.transports.aws_setup import look

SEEDS = Path(__file__).parents[1] / "seeds"
SOURCE = "aws.partner/buywithprime/partner-event-source-name"
"""The source of the event pages' examples."""


def documents() -> dict[str, dict[str, Any]]:
    """The EventBridge documents of the event pages, by file."""
    paths = sorted(SEEDS.glob("*.eventbridge.json"))
    return {path.name.split(".")[0]: json.loads(path.read_bytes()) for path in paths}


def settings(url: str) -> dict[str, str]:
    """AWS's own settings, for the fake at `url`."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


class Account:
    """The account, with the source `SOURCE`. `deploy` makes the stack and keeps its outputs."""

    def __init__(self, bus: PartnerBus) -> None:
        self.bus = bus
        self.events = bus.client("events")
        self.sqs = bus.client("sqs")
        self.outputs: dict[str, str] = {}
        self.events.create_partner_event_source(Name=SOURCE, Account=ACCOUNT)

    def deploy(self, **parameters: str) -> dict[str, str]:
        self.outputs = deploy(self.bus, **{"EventSourceName": SOURCE, **parameters})
        return self.outputs

    def publish(self, *details: dict[str, Any], source: str = SOURCE) -> None:
        """Events, by their webhook bodies, as Buy with Prime puts them on the bus."""
        entries = [
            {
                "Source": source,
                "Resources": detail["resources"],
                "DetailType": detail["eventDescriptor"],
                "Detail": json.dumps(detail),
            }
            for detail in details
        ]
        answer = self.events.put_partner_events(Entries=entries)
        assert answer["FailedEntryCount"] == 0, answer

    def set(self, output: str, **attributes: str) -> None:
        """Set attributes of a queue of the stack. moto forgets its policy with every other attribute; AWS doesn't."""
        url = self.outputs[output]
        told = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        policy = told.get("Attributes", {}).get("Policy", "")
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy, **attributes})

    def received(self) -> list[dict[str, Any]]:
        """What stands in the stack's queue, which is empty afterwards."""
        self.set("QueueUrl", ReceiveMessageWaitTimeSeconds="0")
        return [json.loads(body) for body in self.bus.received(self.outputs["QueueUrl"])]

    def judge(self, wanted: bool) -> None:
        """Whether the fake asks what callers may do from here on. It knows actions, no resources."""
        body, plain = (b"0" if wanted else b"inf"), {"content-type": "text/plain"}
        request = urllib.request.Request(f"{self.bus.url}/moto-api/reset-auth", body, plain, method="POST")
        urllib.request.urlopen(request).close()

    async def look(self, *queue_urls: str, source: str | None = None) -> list[Finding]:
        """The findings for a hub that receives from these queues (none named: from the stack's)."""
        urls = list(queue_urls or filter(None, [self.outputs.get("QueueUrl")]))
        async with AwsReader(deadline_s=60.0) as reader:
            return await look(reader, source=source, queue_urls=urls)
