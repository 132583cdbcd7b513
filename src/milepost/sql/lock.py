"""The lock that keeps a second hub off one SQLite file: `flock` on `{database}.lock`, which says who holds it.

The operating system releases it with the process, `kill -9` included; the file stays and means nothing alone.
"""

import fcntl
import os
import socket
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from milepost.domain.errors import StoreLocked, StoreUnavailable
from milepost.domain.instant import Instant, format_instant

_TRIES, _PAUSE = 5, 0.05
"""A process that is just ending, or `doctor` looking, holds it for a moment: worth a quarter of a second."""


class Holder(Struct, frozen=True):
    """Who took a database's lock: what the lock file says."""

    pid: int
    host: str
    owner: str
    since: Instant

    def __str__(self) -> str:
        return f"{self.owner} (pid {self.pid} on {self.host}, since {format_instant(self.since)})"


def lock_path(database: Path) -> Path:
    """Beside the real file, whichever name or link led to it."""
    real = database.resolve()
    return real.with_name(real.name + ".lock")


class Lock:
    """A held lock; `release` it, or let the process end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def acquire(database: Path, owner: str, since: Instant) -> Lock:
    """Take the lock. Raises `StoreLocked` naming the holder, `StoreUnavailable` when no lock file can be kept."""
    path = lock_path(database)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise StoreUnavailable(f"cannot open the lock file {path}: {e.strerror}", path=str(path)) from e
    if not _try(descriptor, _TRIES):
        os.close(descriptor)
        holder = _read(path)
        who = str(holder) if holder else "another process"
        raise StoreLocked(
            f"{database} is in use by {who}; stop it first, or use another database:"
            " MILEPOST_DATABASE_URL, --database, or the demo's --folder",
            holder=holder,
        )
    mine = Holder(os.getpid(), socket.gethostname(), owner, since)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(mine) + b"\n", 0)
    except OSError:
        pass  # a full disk: the lock holds all the same, only its label is missing
    return Lock(descriptor)


def holder_of(database: Path) -> Holder | None:
    """Who holds the lock now, or None. Looks without waiting and disturbs nobody for longer than a moment."""
    path = lock_path(database)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _try(descriptor, 1) else (_read(path) or Holder(0, "", "another process", Instant(0)))
    finally:
        os.close(descriptor)


def _try(descriptor: int, tries: int) -> bool:
    for attempt in range(tries):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if attempt + 1 < tries:
                time.sleep(_PAUSE)
        else:
            return True
    return False


def _read(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
