"""What is to be published, as a value. Its bytes are made in `events`, what causes it is in `transitions`."""

from typing import Any

from msgspec import Struct


class Publication(Struct, frozen=True):
    """An event to publish: its type, its resource behind `businessProduct/{id}`, and its `data`."""

    type: str
    resource: tuple[tuple[str, str], ...]
    data: dict[str, Any] = {}
