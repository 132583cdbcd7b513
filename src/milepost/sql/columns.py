"""What the tables are made of: one set of metadata, texts that both databases order alike, numbers of 64 bits."""

from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, MetaData, TypeDecorator
from sqlalchemy import Text as PlainText

metadata = MetaData()
postgresql_metadata = MetaData()
"""What only PostgreSQL has, beside what is in `metadata`."""


class _Bytewise(TypeDecorator[str]):
    """A text on PostgreSQL: ordered byte by byte, as SQLite does it, whatever language the database speaks; paging
    and searching for a prefix rest on that. NUL, which PostgreSQL cannot keep in a text, is kept as U+2400."""

    impl = PlainText
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(collation="C")

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> Any | None:
        return value.replace("\0", "\u2400") if value is not None and "\0" in value else value


Text = PlainText().with_variant(_Bytewise(), "postgresql")
ONE_ROW: dict[str, Any] = {"postgresql_with": {"fillfactor": 50, "vacuum_truncate": False}}
"""A few rows, changed all the time: room for the next version beside the last, so that no index is touched, and
no lock of the whole table just to make the file shorter."""

# SQLite calls only INTEGER PRIMARY KEY its rowid; everywhere else 64 bits have to be asked for.
Number = BigInteger().with_variant(Integer(), "sqlite")
