"""The store on SQLAlchemy Core, over SQLite and PostgreSQL.

| module                                            | what                                                  |
|---------------------------------------------------|-------------------------------------------------------|
| database, inspection                              | open, migrate, copy and look at a database as a whole |
| store, writer, transaction                        | SQLite's store as an object, its one writing thread   |
| postgres_store, …_append, …_worker, …_session     | PostgreSQL's: who appends, who writes, lost commits   |
| last_position, postgres_listening                 | waiting for the journal to become longer              |
| append, batch                                     | which arrivals are new, duplicates or conflicts       |
| journal, views, work, attempts, credentials       | the parts of the contract, on one connection          |
| schema, migrations, statements                    | tables, how they came to be, how rows are written     |
| sqlite…, lock                                     | what is SQLite's own                                  |
| postgresql, postgres_…                            | what is PostgreSQL's own                              |
"""

from milepost.sql.database import (
    copy_database,
    inspect,
    is_shared,
    migrate,
    open_store,
    schema_version,
    shown,
)
from milepost.sql.inspection import Inspection, Server
from milepost.sql.lock import Holder

__all__ = [
    "Holder",
    "Inspection",
    "Server",
    "copy_database",
    "inspect",
    "is_shared",
    "migrate",
    "open_store",
    "schema_version",
    "shown",
]
