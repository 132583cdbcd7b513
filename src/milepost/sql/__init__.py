"""The store on SQLAlchemy Core, over SQLite and PostgreSQL.

| module                                            | what                                                  |
|---------------------------------------------------|-------------------------------------------------------|
| database, inspection, backup                      | open, migrate, copy and look at a database as a whole |
| store, writer, transaction                        | SQLite's store as an object, its one writing thread   |
| postgres_store, …_append, …_worker, …_session     | PostgreSQL's: who appends, who writes, lost commits   |
| last_position, postgres_listening                 | waiting for the journal to become longer              |
| append, batch                                     | which arrivals are new, duplicates or conflicts       |
| bodies                                            | what came by a second road, as it came                |
| journal, views, work, attempts, credentials       | the parts of the contract, on one connection          |
| schema, migrations, statements                    | tables, how they came to be, how rows are written     |
| secrets, key_file, sealed_rows, rotation          | secrets at rest: the cipher, keys, what is sealed     |
| sqlite…, lock                                     | what is SQLite's own                                  |
| postgresql, postgres_…                            | what is PostgreSQL's own                              |
"""

from milepost.sql.backup import RATE, Backup, Restored, back_up, restore
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
from milepost.sql.migrations import newest as newest_schema
from milepost.sql.rotation import Rotated, key_sources, rotate_keys
from milepost.sql.sealed_rows import Standing
from milepost.sql.secrets import new_key

__all__ = [
    "RATE",
    "Backup",
    "Holder",
    "Inspection",
    "Restored",
    "Rotated",
    "Server",
    "Standing",
    "back_up",
    "copy_database",
    "inspect",
    "is_shared",
    "key_sources",
    "migrate",
    "new_key",
    "newest_schema",
    "open_store",
    "restore",
    "rotate_keys",
    "schema_version",
    "shown",
]
