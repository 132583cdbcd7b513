"""`milepost doctor --aws`: what is missing at AWS between a partner event source and the hub's queues.

Which queues the hub receives from is in its settings; region, credentials and endpoint are AWS's own settings. A
queue's region is that of its address, and each region is looked at once. What is looked at is
`transports.aws_setup`'s.
"""

from typing import TYPE_CHECKING

from milepost.domain.errors import MilepostError
from milepost.domain.finding import Finding

if TYPE_CHECKING:
    from milepost.config import Config


async def look_at_aws(config: "Config", source: str | None) -> list[Finding]:
    """The findings, region by region. `source` is a partner event source, None for all of Buy with Prime's."""
    from milepost.transports.aws_reading import AwsReader
    from milepost.transports.aws_setup import look
    from milepost.transports.sqs_queue import region_of

    plain = [config.sqs_queue_url] if config.sqs_queue_url else []
    regions: dict[str | None, list[str]] = {}
    for url in [*plain, *(queue.url for queue in config.sqs_queues)]:
        regions.setdefault(region_of(url), []).append(url)
    findings: list[Finding] = []
    for region, urls in (regions or {None: []}).items():
        try:
            async with AwsReader(region) as reader:
                findings.extend(await look(reader, source=source, queue_urls=urls))
        except MilepostError as e:
            findings.append(Finding("AWS", False, e.detail, "docs/aws.md"))
    return findings
