"""What a look at a system found: one line of `milepost doctor`. Who looks, and at what, is elsewhere."""

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One thing that was looked at. `ok` is false for what is wrong and for what could not be looked at."""

    check: str
    ok: bool
    found: str
    mend: str = ""
    """How to mend it; shown only when it is not ok."""
