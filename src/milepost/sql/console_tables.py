"""The tables of the people who use the console: users, sessions, one-time links, tries to sign in, the audit log.

They are part of `schema`, which is how everybody names them. No rebuild touches them. Tokens are kept as hashes only.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table

from milepost.sql.columns import Number, Text, metadata

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("folded", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("disabled_at", BigInteger),
    sqlite_with_rowid=False,
)
"""`folded` is the sign-in name as it is compared. A few hundred rows at most."""
Index("users_folded", users.c.folded, unique=True)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("browser", Text, nullable=False),
    Column("address", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("sessions_user", sessions.c.user_id, sessions.c.seen_at)
Index("sessions_created_at", sessions.c.created_at)
Index("sessions_seen_at", sessions.c.seen_at)

invitations = Table(
    "invitations",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Those that were not used yet. An empty `user_id`: whoever has the link becomes the first admin."""
Index("invitations_user", invitations.c.user_id)
Index("invitations_created_at", invitations.c.created_at)

tries = Table(
    "tries",
    metadata,
    Column("key", Text, primary_key=True),
    Column("wrong", Integer, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("locked_until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("tries_last_at", tries.c.last_at)

audit = Table(
    "audit",
    metadata,
    Column("number", Number, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("details", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("audit_actor", audit.c.actor, audit.c.number)
Index("audit_action", audit.c.action, audit.c.number)
Index("audit_business_product", audit.c.business_product_id, audit.c.number)
