"""An inbox on SQLite: an event is kept once before it is answered, and handled afterwards, again until that works.

Amazon may send an event twice, and through two subscriptions with another idempotencyKey: the key and the eventId
are unique, each by itself. What is kept survives a crash; what is handled must bear being handled again after one.
"""

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

TABLE = """CREATE TABLE IF NOT EXISTS inbox (number INTEGER PRIMARY KEY, idempotency_key TEXT UNIQUE,
  event_id TEXT UNIQUE, event TEXT, tries INTEGER DEFAULT 0, due REAL DEFAULT 0, done INTEGER DEFAULT 0)"""
LONGEST_WAIT_S = 3600.0


class Inbox:
    """Call `put` before answering; `handle` is called with each event, in a thread."""

    def __init__(self, path: str, handle: Callable[[dict], None]) -> None:
        self._path = path
        self._handle = handle
        self._news = threading.Event()
        with closing(self._open()) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(TABLE)
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, event: dict) -> bool:
        """Keep an event for good; False for one that is here already."""
        row = event["idempotencyKey"], event["eventId"], json.dumps(event)
        with closing(self._open()) as db:
            text = "INSERT OR IGNORE INTO inbox (idempotency_key, event_id, event) VALUES (?, ?, ?)"
            is_new = db.execute(text, row).rowcount == 1
        self._news.set()
        return is_new

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None)

    def _work(self) -> None:
        with closing(self._open()) as db:
            while True:
                self._news.clear()
                due = db.execute(
                    "SELECT number, tries, event FROM inbox WHERE NOT done AND due <= ? ORDER BY number LIMIT 1",
                    (time.time(),),
                ).fetchone()
                if due is None:
                    # What has failed is due by the clock, not by news.
                    self._news.wait(1.0)
                    continue
                number, tries, event = due
                try:
                    self._handle(json.loads(event))
                    db.execute("UPDATE inbox SET done = 1 WHERE number = ?", (number,))
                except Exception as e:
                    print(f"event {number} failed, try {tries + 1}: {e!r}", file=sys.stderr)
                    later = time.time() + min(2.0**tries, LONGEST_WAIT_S)
                    db.execute(
                        "UPDATE inbox SET tries = ?, due = ? WHERE number = ?", (tries + 1, later, number)
                    )
