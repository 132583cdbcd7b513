"""API keys as every store has them, hashed."""

from typing import Literal, Protocol

from msgspec import Struct

from milepost.domain.instant import Instant

Scope = Literal["read", "operate", "admin"]


class ApiKey(Struct, frozen=True):
    """An API key: only its hash is kept. Bound to business products; empty means all."""

    id: str
    name: str
    hash: bytes
    """SHA-256 of the key (keys are 256 random bits, so that no slow hash is needed)."""
    scope: Scope
    business_product_ids: tuple[str, ...]
    created_at: Instant
    revoked_at: Instant | None = None


class Credentials(Protocol):
    def put_api_key(self, key: ApiKey) -> None: ...

    def api_key_by_hash(self, hash: bytes) -> ApiKey | None: ...

    def api_keys(self, after: str, limit: int) -> list[ApiKey]: ...
