"""What is PostgreSQL's own: addresses, connections, and which of its failures mean what.

The driver comes with the extra `postgresql`; nothing here is imported before an address asks for it.
"""

from msgspec import Struct
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from milepost.domain.errors import Misconfigured

EXAMPLE = "postgresql://milepost:password@127.0.0.1/milepost"
_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})


class Address(Struct, frozen=True):
    """Where a database is, as each of the two that connect to it wants to be told."""

    url: URL
    """SQLAlchemy's; its driver is asyncpg."""
    dsn: str
    """asyncpg's, with the password."""

    @property
    def shown(self) -> str:
        """For people and logs: without the password."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)


def is_address(url: str) -> bool:
    """Whether a database URL names PostgreSQL, whatever else may be wrong with it."""
    return url.partition(":")[0] in _SCHEMES


def address_of(url: str) -> Address:
    """The address in a `postgresql://` URL (`postgres://` and `postgresql+asyncpg://` are the same; a socket's
    folder is `?host=`). Raises `Misconfigured` for anything else, and never quotes a password."""
    try:
        parsed = make_url(url)
        port_is_good = parsed.port is None or 0 < parsed.port < 65_536
    except (ArgumentError, ValueError):
        # Not quoted: what cannot be taken apart may hold a password anywhere.
        raise Misconfigured(f"this is no database URL; one looks like {EXAMPLE}") from None
    if parsed.drivername not in _SCHEMES:
        shown = parsed.render_as_string(hide_password=True)
        raise Misconfigured(f"{shown}: a PostgreSQL URL looks like {EXAMPLE}")
    parsed = parsed.set(drivername="postgresql+asyncpg")
    dsn = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    address = Address(parsed, dsn)
    if not port_is_good:
        raise Misconfigured(f"{address.shown}: {parsed.port} is no port")
    if not parsed.database:
        raise Misconfigured(f"{address.shown}: name the database, as in {EXAMPLE}")
    return address
