"""The settings of what concerns people: notifications, the shop's looks, the accountant, secrets at rest.

Part of `Config`, which says where settings come from; `docs/settings.md` documents each.
"""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from milepost.domain.notification import CHANNELS, KINDS

_NOT_UNASKED = frozenset({"in_transit", "correction"})
"""Kinds that are told only when they are named: a second scan is no news to most; a correction is a shop's choice."""


class PeopleSettings(BaseSettings):
    """Settings of notifications, feeds and erasure."""

    notifications: bool = Field(
        False, description="Tell shoppers how their deliveries stand. Off until switched on."
    )
    notification_kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        tuple(kind for kind in KINDS if kind not in _NOT_UNASKED),
        description="What shoppers are told, comma separated; leave out what Amazon tells them already.",
    )
    notification_channels: Annotated[tuple[str, ...], NoDecode] = Field(
        ("email",),
        description="By what: email, webhook; the first one that can reach a shopper is taken.",
    )
    notification_locale: str = Field(
        "en", description="The language of notifications when nobody chose another: en or es."
    )
    notification_hold_s: float = Field(
        600.0, ge=0, description="Seconds that a notification is held, so that a later one can overtake it."
    )
    notification_hold_delivered_s: float = Field(
        1_800.0, ge=0, description="The same for a notification that something was delivered."
    )
    notifications_per_day: int = Field(
        3, ge=1, description="Most notifications an order and local day; urgent ones are not counted."
    )
    notification_earlier_estimates: bool = Field(
        False, description="Tell also that a delivery is expected on an earlier day than before."
    )
    quiet_hours: str = Field(
        "",
        pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$",
        description="When shoppers are left alone, by their local time, as in 21:00-08:00; urgent ones come through.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="The mail server: `smtp://user:password@host:587` (STARTTLS) or `smtps://…:465` (TLS);"
        " `?starttls=never` for one on this machine.",
    )
    mail_from: str | None = Field(
        None, description="Who mails come from, as in `Shop <orders@shop.example>`."
    )
    mail_reply_to: str | None = Field(None, description="Where answers to them go.")
    notification_webhook_url: str | None = Field(
        None, description="Your own notification system, which is posted what shoppers are to be told."
    )
    notification_webhook_secret: SecretStr | None = Field(
        None, description="Its `whsec_…` secret, by which these posts are signed."
    )
    public_url: str | None = Field(
        None,
        description="Under which address others reach this hub, for links in notifications and to set passwords;"
        " with https, the console's cookies are for https only.",
        pattern=r"^https?://[^\s]+$",
    )
    tracking_lookup: bool = Field(
        True,
        description="Let a shopper open an order's page by its number and the email address, while links are signed.",
    )
    shop_name: str = Field("Your shop", description="The name that shoppers know.")
    shop_url: str | None = Field(None, description="The shop's address.", pattern=r"^https?://[^\s]+$")
    shop_color: str = Field(
        "#2457a6", pattern=r"^#[0-9a-fA-F]{6}$", description="The shop's colour, as in #2457a6."
    )
    support_email: str | None = Field(None, description="Whom shoppers may write to.")

    accounting_settle_days: float = Field(
        7.0, ge=0, description="Days after which what nothing contradicted is settled for the accountant."
    )
    origin_timezone: str | None = Field(
        None,
        description="The zone that parcels are sent from (IANA name), for local days at the origin;"
        " when not set, that of the business calendar.",
    )

    erasure_compact_mb: int = Field(
        500,
        ge=0,
        description="The largest SQLite file, in megabytes, that is written anew by itself to let go of erased bytes;"
        " nobody can write meanwhile. A larger one waits for `milepost erase --compact`.",
    )

    encryption_key: SecretStr | None = Field(
        None,
        description="Encrypts secrets at rest (`milepost keys new` makes one). Several separated by commas: the first"
        " encrypts, all decrypt. When not set, a file beside a SQLite database holds one.",
    )

    @field_validator("origin_timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError, OSError) as e:
                raise ValueError(f"{value!r} is no IANA zone, as in America/Los_Angeles") from e
        return value

    @property
    def encryption_keys(self) -> str | None:
        """What seals secrets at rest, as it was set."""
        return None if self.encryption_key is None else self.encryption_key.get_secret_value()

    @field_validator("notification_kinds", "notification_channels", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("notification_kinds")
    @classmethod
    def _kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, KINDS)

    @field_validator("notification_locale")
    @classmethod
    def _locale(cls, value: str) -> str:
        # Here, since catalogues are slow to load and most commands need none.
        from milepost.shopper.catalogues import LOCALES, is_spoken

        if not is_spoken(value):
            raise ValueError(f"{value!r} is not a language of notifications: there are {', '.join(LOCALES)}")
        return value

    @field_validator("notification_channels")
    @classmethod
    def _channels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, CHANNELS)


def _known(value: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in value if name not in known]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: there are only {', '.join(known)}")
    return value
