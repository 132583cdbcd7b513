"""In which time zone a place is, as far as the address of a carrier's scan tells: country and region.

Used where a time was written in UTC and the local day is asked for; who uses it says that the zone is inferred
(tracking.md 9.1). The United States and Canada are known, where Buy with Prime's parcels go. A region with two zones
has that of most of its people; a place that is not known has none.
"""

from collections.abc import Mapping
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_COUNTRIES: Final = {"US": "US", "USA": "US", "UNITED STATES": "US", "CA": "CA", "CAN": "CA", "CANADA": "CA"}

_REGIONS: Final = {
    "US": {
        "America/New_York": "CT DC DE FL GA KY MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
        "America/Detroit": "MI",
        "America/Indiana/Indianapolis": "IN",
        "America/Chicago": "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI",
        "America/Denver": "CO MT NM UT WY",
        "America/Boise": "ID",
        "America/Phoenix": "AZ",
        "America/Los_Angeles": "CA NV OR WA",
        "America/Anchorage": "AK",
        "Pacific/Honolulu": "HI",
        "America/Puerto_Rico": "PR VI",
        "Pacific/Guam": "GU MP",
        "Pacific/Pago_Pago": "AS",
    },
    "CA": {
        "America/St_Johns": "NL",
        "America/Halifax": "NS PE",
        "America/Moncton": "NB",
        "America/Toronto": "ON QC",
        "America/Iqaluit": "NU",
        "America/Winnipeg": "MB",
        "America/Regina": "SK",
        "America/Edmonton": "AB NT",
        "America/Vancouver": "BC",
        "America/Whitehorse": "YT",
    },
}

_NAMES: Final = {
    "US": "ALABAMA AL,ALASKA AK,AMERICAN SAMOA AS,ARIZONA AZ,ARKANSAS AR,CALIFORNIA CA,COLORADO CO,CONNECTICUT CT,"
    "DELAWARE DE,DISTRICT OF COLUMBIA DC,FLORIDA FL,GEORGIA GA,GUAM GU,HAWAII HI,IDAHO ID,ILLINOIS IL,INDIANA IN,"
    "IOWA IA,KANSAS KS,KENTUCKY KY,LOUISIANA LA,MAINE ME,MARYLAND MD,MASSACHUSETTS MA,MICHIGAN MI,MINNESOTA MN,"
    "MISSISSIPPI MS,MISSOURI MO,MONTANA MT,NEBRASKA NE,NEVADA NV,NEW HAMPSHIRE NH,NEW JERSEY NJ,NEW MEXICO NM,"
    "NEW YORK NY,NORTH CAROLINA NC,NORTH DAKOTA ND,OHIO OH,OKLAHOMA OK,OREGON OR,PENNSYLVANIA PA,PUERTO RICO PR,"
    "RHODE ISLAND RI,SOUTH CAROLINA SC,SOUTH DAKOTA SD,TENNESSEE TN,TEXAS TX,UTAH UT,VERMONT VT,VIRGINIA VA,"
    "WASHINGTON WA,WEST VIRGINIA WV,WISCONSIN WI,WYOMING WY",
    "CA": "ALBERTA AB,BRITISH COLUMBIA BC,MANITOBA MB,NEW BRUNSWICK NB,NEWFOUNDLAND AND LABRADOR NL,"
    "NORTHWEST TERRITORIES NT,NOVA SCOTIA NS,NUNAVUT NU,ONTARIO ON,PRINCE EDWARD ISLAND PE,QUEBEC QC,"
    "QUÉBEC QC,SASKATCHEWAN SK,YUKON YT",
}


def _by_region() -> dict[tuple[str, str], str]:
    """(country, region as a code or a name) to the zone's name."""
    found: dict[tuple[str, str], str] = {}
    for country, zones in _REGIONS.items():
        for zone, codes in zones.items():
            found.update({(country, code): zone for code in codes.split()})
        for named in _NAMES[country].split(","):
            name, _, code = named.rpartition(" ")
            found[country, name] = found[country, code]
    return found


_ZONES: Final = _by_region()


def _by_name() -> dict[tuple[str, str], str]:
    """(country, region as a code or a name) to the region's code."""
    found: dict[tuple[str, str], str] = {}
    for country, zones in _REGIONS.items():
        found.update({(country, code): code for codes in zones.values() for code in codes.split()})
        for named in _NAMES[country].split(","):
            name, _, code = named.rpartition(" ")
            found[country, name] = code
    return found


_CODES: Final = _by_name()
_LONGEST: Final = 64


@lru_cache(maxsize=1_024)
def zone_of(country: str | None, region: str | None) -> tzinfo | None:
    """The zone of a place; None where it is not known. `US-NV`, `NV` and `Nevada` are one region."""
    known = _COUNTRIES.get((country or "").strip().upper())
    if known is None:
        return None
    text = (region or "").strip().upper()
    name = _ZONES.get((known, text.removeprefix(f"{known}-")))
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None  # this machine has no such zone


@lru_cache(maxsize=1_024)
def region_of(country: str | None, region: str | None) -> str:
    """One name for a region however it was written: `US-NV`; of a place that is not known, what was written in upper
    case; empty where nothing was."""
    country, region = _plain(country), _plain(region)
    known = _COUNTRIES.get(country, country)
    region = region.removeprefix(f"{known}-") if known else region
    region = _CODES.get((known, region), region)
    return "-".join(filter(None, (known, region)))[:_LONGEST]


def recipient_region(order: Mapping[str, Any]) -> str | None:
    """The region that an order object says it goes to, such as US-OR, of its first recipient in a known one. Nothing
    else of an address is read, and no other text."""
    recipients = order.get("recipients")
    for each in recipients if isinstance(recipients, list) else ():
        address = each.get("shippingAddress") if isinstance(each, dict) else None
        texts = [address.get(name) for name in ("countryCode", "region")] if isinstance(address, dict) else []
        if len(texts) == 2 and all(isinstance(text, str) for text in texts):
            name = region_of(*texts)
            if tuple(name.split("-", 1)) in _CODES:
                return name
    return None


def names_region(text: str) -> bool:
    """Whether it is a known region's code or name, or a known country's, and so nothing that is anybody's own."""
    plain = _plain(text)
    return plain in _COUNTRIES or any(
        (country, plain.removeprefix(f"{country}-")) in _CODES for country in _REGIONS
    )


def _plain(text: str | None) -> str:
    """Upper case, without NUL, which not every database can keep."""
    return (text or "").replace("\0", "").strip().upper()
