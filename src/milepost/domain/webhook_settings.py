"""The settings of a `webhook` destination (JSON, Amazon's names; buy-with-prime.md 2.1) as structs.

    {"url": "https://…", "method": "POST",
     "auth": {}
           | {"basicAuthConfig": {"username", "password"}}
           | {"oAuthConfig": {"clientParameters": {"clientId", "clientSecret"},
                              "authEndpoint", "httpMethod": "POST",
                              "httpParameters": {"bodyParameters": [{"key", "value"}], "headerParameters": […]}}},
     "authProfileId": null | "…",
     "signature": null | "amazon" | {"standardWebhooks": {"secrets": ["whsec_…" | "whsk_…", …],
                                                          "former": [{"secret", "until"}, …]}},
     "headers": [{"key", "value"}]}

Other keys are somebody else's and ignored. `msgspec.json.encode` of `WebhookSettings` is what the store keeps.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from milepost.domain.instant import Instant


class Pair(Struct, frozen=True):
    key: str
    value: str


class ClientParameters(Struct, frozen=True, rename="camel"):
    client_id: str
    client_secret: str


class HttpParameters(Struct, frozen=True, rename="camel"):
    body_parameters: tuple[Pair, ...] = ()
    header_parameters: tuple[Pair, ...] = ()


class OAuthConfig(Struct, frozen=True, rename="camel"):
    client_parameters: ClientParameters
    auth_endpoint: str
    http_method: Literal["POST"] = "POST"
    http_parameters: HttpParameters = HttpParameters()


class BasicAuthConfig(Struct, frozen=True):
    username: str
    password: str


class AuthConfig(Struct, frozen=True):
    basic: BasicAuthConfig | None = msgspec.field(default=None, name="basicAuthConfig")
    oauth: OAuthConfig | None = msgspec.field(default=None, name="oAuthConfig")


class FormerSecret(Struct, frozen=True):
    """A secret that another has taken the place of: it signs along until that time."""

    secret: str
    until: Instant


class StandardWebhooks(Struct, frozen=True):
    """Secrets to sign with: `whsec_…` (HMAC) or `whsk_…` (an ed25519 private key)."""

    secrets: tuple[str, ...]
    former: tuple[FormerSecret, ...] = ()
    """Those of a rotation that is under way, the newest first."""


class StandardSignature(Struct, frozen=True):
    standard: StandardWebhooks = msgspec.field(name="standardWebhooks")


class WebhookSettings(Struct, frozen=True):
    url: str
    method: Literal["POST"] = "POST"
    auth: AuthConfig = AuthConfig()
    auth_profile_id: str | None = msgspec.field(default=None, name="authProfileId")
    signature: Literal["amazon"] | StandardSignature | None = None
    headers: tuple[Pair, ...] = ()
    """Headers to send beside ours, or in their place."""


def has_secrets(settings: bytes) -> bool:
    """Whether a destination's settings, of any kind, hold something that nobody else may know. In doubt they do."""
    try:
        decoded: Any = msgspec.json.decode(settings)
    except msgspec.DecodeError:
        return bool(settings)
    if not isinstance(decoded, dict):
        return True
    auth, signature = decoded.get("auth"), decoded.get("signature")
    credentials = auth.values() if isinstance(auth, dict) else [auth]
    return any([*credentials, decoded.get("headers")]) or signature not in (None, "amazon")
