"""Every setting of the hub: names, defaults, what each means.

Settings come from the environment (`MILEPOST_…`) and from `milepost.toml` in the working directory (or the file
that `MILEPOST_CONFIG` names); the environment wins. Plain settings cover every business product; the lists of
`milepost.toml` bind credentials to business products. `docs/settings.md` documents each (a test compares them).
What is built from them is `hub`'s.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from milepost.domain.condition import Policy, policy_from
from milepost.domain.errors import Misconfigured
from milepost.domain.tracking_token import SHORTEST_SECRET
from milepost.people_settings import PeopleSettings

CONFIG_FILE = "milepost.toml"
HEADER_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
"""What HTTP allows as a header's name."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WebhookCredential(_Section):
    """Basic authentication of one sender, bound to business products (none named: all)."""

    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)
    business_products: tuple[str, ...] = ()


class WebhookApiKey(_Section):
    """A key in a header, as an EventBridge API destination sends it. Several keys overlap while one is rotated."""

    header: str = Field("x-api-key", pattern=HEADER_NAME)
    keys: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = Field(min_length=1)
    business_products: tuple[str, ...] = ()


class SqsQueue(_Section):
    """A queue that events are received from; what it brings may be of these business products (none named: all)."""

    url: str = Field(min_length=1)
    business_products: tuple[str, ...] = ()


class OAuthClient(_Section):
    """A client of our `POST /oauth/token`. Several secrets overlap while one is rotated; the first is newest."""

    client_id: str
    client_secrets: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = Field(min_length=1)
    business_products: tuple[str, ...] = ()


class ApiClientSettings(_Section):
    """Credentials for the Buy with Prime API of one business product."""

    business_product: str
    client_id: str
    client_secret: SecretStr
    target_id: str | None = None
    api_url: str | None = None
    """Where it differs from `bwp_api_url`."""


class Config(PeopleSettings):
    """The hub's settings. `Config.load()` reads environment and file and explains what is wrong."""

    model_config = SettingsConfigDict(env_prefix="MILEPOST_", env_ignore_empty=True, extra="forbid")

    database_url: str = Field(
        "sqlite:///milepost.db",
        description="Where the journal and the views are kept.",
        repr=False,  # a server's may have a password in it
    )
    host: str = Field("127.0.0.1", description="The address the hub listens on.")
    port: int = Field(8480, ge=0, le=65535, description="The port the hub listens on; 0 takes a free one.")

    webhook_username: str | None = Field(None, description="User name of the webhook's Basic authentication.")
    webhook_password: SecretStr | None = Field(None, description="Its password.")
    oauth_client_id: str | None = Field(None, description="Client id that Amazon presents at /oauth/token.")
    oauth_client_secret: SecretStr | None = Field(
        None, description="Its secret. Two separated by a comma overlap during a rotation, the newest first."
    )
    signature_jwks_url: str | None = Field(
        None, description="JWKS with the keys of `x-amzn-signature`; set, every webhook must be signed too."
    )
    webhook_api_key: SecretStr | None = Field(
        None,
        description="API key of an EventBridge API destination. Two separated by a comma overlap, the newest first.",
    )
    webhook_api_key_header: str = Field(
        "x-api-key", pattern=HEADER_NAME, description="The header it comes in."
    )
    insecure: bool = Field(False, description="Accept unauthenticated webhooks and reads. For a laptop only.")

    api_key: SecretStr | None = Field(
        None, description="An API key with scope admin for all business products."
    )

    tracking_secret: SecretStr | None = Field(
        None,
        description="Signs links to an order's status (32 characters or more); when not set, there are none."
        " Two separated by a comma overlap, the newest first.",
    )

    bwp_api_url: str = Field(
        "https://api.buywithprime.amazon.com",
        description="Base of the Buy with Prime API; /token and /graphql are added.",
    )
    bwp_client_id: str | None = Field(None, description="Client id of your Buy with Prime API credentials.")
    bwp_client_secret: SecretStr | None = Field(None, description="Their client secret.")
    bwp_target_id: str | None = Field(
        None, description="`x-api-target-id`; when not set, the business product of the event."
    )
    queries_per_minute: int = Field(300, ge=1, description="The budget of API queries a minute.")

    sqs_queue_url: str | None = Field(
        None,
        description="Amazon SQS queue to receive events from. Region and credentials are AWS's own settings.",
    )
    sqs_pollers: int = Field(2, ge=1, le=64, description="Receiving loops a queue.")

    egress_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="CIDRs of private addresses that data may name as destinations; comma separated."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="CIDRs of proxies in front of the hub, whose X-Forwarded-For is believed; comma separated.",
    )
    disable_after_days: float = Field(
        5.0,
        ge=0,
        description="Days of nothing but failures after which a subscriber is disabled, its events kept; 0 never.",
    )
    captures_review_inferred: bool = Field(
        False,
        description="Hold captures of deliveries whose shipping is only inferred, until somebody releases them.",
    )
    max_concurrency: int = Field(1_000, ge=1, description="Webhooks in flight before 503 is answered.")
    receive_timeout_s: float = Field(
        10.0, gt=0, le=10.0, description="Seconds a client has to send a whole request."
    )
    timezone: str = Field("UTC", description="The zone of the business calendar (IANA name).")
    holidays: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Days that are no business days: YYYY-MM-DD, comma separated."
    )
    conditions: dict[str, Any] = Field(
        {}, description="Limits of the conditions ([conditions] in milepost.toml; docs/views.md lists them)."
    )
    sweep_interval_s: float = Field(60.0, gt=0, description="Seconds between two evaluations of conditions.")
    lease_s: float = Field(
        10.0,
        ge=1,
        description="Seconds after which another hub on the same database takes over from one that died.",
    )
    retention_days: int = Field(
        0,
        ge=0,
        description="Days after which a closed order is removed, records and all; 0 keeps everything.",
    )
    ingest_only: bool = Field(
        False, description="Acknowledge and journal only; what is behind the journal waits for another start."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")

    webhook_credentials: tuple[WebhookCredential, ...] = Field(
        (), description="Basic credentials bound to business products ([[webhook_credentials]])."
    )
    webhook_api_keys: tuple[WebhookApiKey, ...] = Field(
        (), description="API keys of API destinations, bound to business products ([[webhook_api_keys]])."
    )
    sqs_queues: tuple[SqsQueue, ...] = Field(
        (), description="Queues to receive from, bound to business products ([[sqs_queues]])."
    )
    oauth_clients: tuple[OAuthClient, ...] = Field(
        (), description="OAuth clients bound to business products ([[oauth_clients]])."
    )
    api_clients: tuple[ApiClientSettings, ...] = Field(
        (), description="API credentials a business product ([[api_clients]])."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = Path(os.environ.get("MILEPOST_CONFIG", CONFIG_FILE))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    @classmethod
    def load(cls, **overrides: object) -> "Config":
        """Read the settings; `overrides` (not None) win. Raises `Misconfigured` naming each wrong setting."""
        named = os.environ.get("MILEPOST_CONFIG")
        if named is not None and not Path(named).is_file():
            raise Misconfigured(f"MILEPOST_CONFIG names {named}, which is not a file")
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as e:
            wrong = "; ".join(f"{_setting(error['loc'])}: {error['msg']}" for error in e.errors())
            raise Misconfigured(f"wrong settings: {wrong}") from e
        except ValueError as e:
            raise Misconfigured(f"wrong settings: {e}") from e

    @field_validator("egress_allow", "trusted_proxies", "holidays", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for cidr in value:
            ipaddress.ip_network(cidr)
        return value

    @field_validator("tracking_secret")
    @classmethod
    def _not_guessed(cls, value: SecretStr | None) -> SecretStr | None:
        parts = () if value is None else _parts(value)
        if value is not None and (not parts or min(map(len, parts)) < SHORTEST_SECRET):
            raise ValueError(f"each secret must have {SHORTEST_SECRET} characters or more")
        return value

    @property
    def tracking_secrets(self) -> tuple[str, ...]:
        """What signs links to an order's status, the newest first; empty: there are no such links."""
        return () if self.tracking_secret is None else _parts(self.tracking_secret)

    @property
    def has_webhook_authentication(self) -> bool:
        """Whether any way to authenticate webhooks is configured."""
        basic = self.webhook_username is not None and self.webhook_password is not None
        oauth = self.oauth_client_id is not None and self.oauth_client_secret is not None
        key = self.webhook_api_key is not None
        listed = bool(self.webhook_credentials or self.webhook_api_keys or self.oauth_clients)
        return basic or oauth or key or listed or self.signature_jwks_url is not None

    @property
    def has_queue(self) -> bool:
        """Whether events are received from a queue."""
        return self.sqs_queue_url is not None or bool(self.sqs_queues)


def policy_of(config: Config) -> Policy:
    """The limits of the conditions, from the settings. Raises `Misconfigured`."""
    return policy_from({"timezone": config.timezone, "holidays": list(config.holidays), **config.conditions})


def _parts(secret: SecretStr) -> tuple[str, ...]:
    """A secret, or several separated by commas."""
    return tuple(filter(None, map(str.strip, secret.get_secret_value().split(","))))


def _setting(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "milepost.toml"
    rest = ".".join(map(str, location[1:]))
    return f"MILEPOST_{name.upper()}" + (f".{rest}" if rest else "")
