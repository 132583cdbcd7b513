"""The file beside a SQLite database that holds its keys, where no setting gives any: `{database}.key`.

One key a line, the one that seals first; only its owner may read it. It is made when the first secret is to be kept,
is never made in place of another, and is on disk before anything that it sealed. It is no part of a backup.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.sql.secrets import Key, Secrets, new_key, parse_keys

_ABOUT = (
    "# Keys that seal the secrets in the database beside this file. Keep a copy where its backups are not.\n"
)


def key_path(database: Path) -> Path:
    """Beside the real file, whichever name or link led to it."""
    real = database.resolve()
    return real.with_name(real.name + ".key")


def is_open(path: Path) -> bool:
    """Whether others than its owner may read or change the file."""
    try:
        return bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of the file; none when there is no such file. Raises `Misconfigured` for one that holds no key or
    cannot be read."""
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is no text"
        raise Misconfigured(f"the key file {path} cannot be read: {reason}") from None
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return parse_keys(" ".join(lines), str(path))


def secrets_beside(database: Path, given: Sequence[Key], *, writing: bool) -> Secrets:
    """What seals and opens for a SQLite database: by the keys of the setting, if there are any, and those of its
    file. With neither, `writing` makes the file when it is needed. Raises `Misconfigured` for a file of no key."""
    path = key_path(database)
    return Secrets((*given, *read_keys(path)), partial(make_file, path) if writing else None)


def make_file(path: Path) -> Key:
    """A new key in a new file. Raises `StoreUnavailable` when there is one already, or none can be made."""
    key = new_key()
    with _written(path, [key]) as temporary:
        # A link is never made in place of a file, and the name appears with everything in it.
        os.link(temporary, path)
    return key


def put_first(path: Path, key: Key) -> None:
    """Have that key seal from now on; those that are there go on opening."""
    with _written(path, [key, *read_keys(path)]) as temporary:
        temporary.replace(path)


@contextmanager
def _written(path: Path, keys: Sequence[Key]) -> Iterator[Path]:
    """A file of these keys, on disk, under a name of its own; what is done with it is on disk afterwards."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(_ABOUT + "".join(f"{key.text}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        yield temporary
        sync_folder(path.parent)
    except OSError as e:
        raise StoreUnavailable(f"the key file {path} cannot be made: {e.strerror}", path=str(path)) from e
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the folder's names on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
