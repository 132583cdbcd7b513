"""API keys on one connection: only their hashes are kept."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from milepost.sql import schema
from milepost.sql.statements import pack, unpack_texts, upsert
from milepost.store import ApiKey

_k = schema.api_keys.c
_BY_HASH = select(schema.api_keys).where(_k.hash == bindparam("wanted"))


class SqlCredentials:
    """`milepost.store.Credentials` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_api_key(self, key: ApiKey) -> None:
        row = {
            "id": key.id,
            "name": key.name,
            "hash": key.hash,
            "scope": key.scope,
            "business_product_ids": pack(key.business_product_ids),
            "created_at": key.created_at,
            "revoked_at": key.revoked_at,
        }
        upsert(self._connection, schema.api_keys, [row], ("id",))

    def api_key_by_hash(self, hash: bytes) -> ApiKey | None:
        row = self._connection.execute(_BY_HASH, {"wanted": hash}).one_or_none()
        return None if row is None else _key(row)

    def api_keys(self, after: str, limit: int) -> list[ApiKey]:
        statement = select(schema.api_keys).where(_k.id > after).order_by(_k.id).limit(limit)
        return [_key(row) for row in self._connection.execute(statement).all()]


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        row.id,
        row.name,
        row.hash,
        row.scope,
        unpack_texts(row.business_product_ids),
        row.created_at,
        row.revoked_at,
    )
