"""Secrets of a real hub and a real sandbox: in no file, no log, no answer and no backup; and what happens to keys."""

import base64
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.e2e.processes import KEY, PASSWORD, Place, environment, place, run, started
from tests.e2e.recorder import Recorder

from milepost.config import Config
from milepost.sql import new_key

CANARIES = ("canary-of-the-password", "canary-of-a-header", "canary-of-the-client-secret")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


def subscribe(here: Place, url: str) -> list[str]:
    """Three subscribers with every kind of secret; what of it nobody may find."""
    basic = ("--username", "shop", "--password", CANARIES[0], "--header", f"x-canary: {CANARIES[1]}")
    oauth = ("--token-url", "https://shop.example/token", "--client-id", "us", "--client-secret", CANARIES[2])
    one = here.run("subscribers", "add", "basic", "--to", url, *basic, "--json").json()
    private = f"whsk_{base64.b64encode(b'a private key of 32 bytes, known').decode()}"
    signed = ("--signature", "v1a", "--secret", private)
    assert here.run("subscribers", "add", "oauth", "--to", "https://shop.example/hook", *oauth).code == 0
    assert here.run("subscribers", "add", "signed", "--to", url, *signed).code == 0
    return [*CANARIES, one["secret"].removeprefix("whsec_"), private.removeprefix("whsk_")]


def found(canaries: list[str], *texts: bytes | str) -> list[str]:
    everything = b"\n".join(text.encode() if isinstance(text, str) else text for text in texts)
    return [canary for canary in canaries if canary.encode() in everything]


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]


def text_of_key(folder: Path, name: str) -> str:
    (key,) = re.findall(r"^mpk_\S+$", (folder / name).read_text(), re.M)
    return key


@pytest.mark.timeout(400)
def test_secrets_are_nowhere_and_keys_are_wanted(tmp_path: Path, receiver: Recorder) -> None:
    with place(tmp_path, EGRESS_ALLOW="127.0.0.0/8") as here:
        canaries = subscribe(here, receiver.url)
        here.deliver()
        receiver.wait(2)
        listed = [
            here.run(*words) for words in (("subscribers", "list"), ("attempts",), ("doctor", "--json"))
        ]
        backed = here.run("backup", "one.backup", "--json")
        assert backed.json()["differences"] == 0
        keys = here.run("keys", "status", "--json").json()
        locked = here.run("keys", "rotate", "--new")
        assert (locked.code, "milepost serve (pid " in locked.err) == (1, True), locked
        said = [text for ran in (*listed, backed, locked) for text in (ran.out, ran.err)]
        # What the hub demands lies in the sandbox's database, since it sends that along.
        assert found([*canaries, PASSWORD, KEY], *files(tmp_path), *said, *here.hub.log) == []
        key = text_of_key(tmp_path, "run/hub.db.key")
        assert (tmp_path / "run/hub.db.key").stat().st_mode & 0o777 == 0o600
        assert key not in "".join([*said, *here.hub.log])
        assert found([key.removeprefix("mpk_")], (tmp_path / "one.backup").read_bytes()) == []
        assert keys["keys"][0]["rows"] == 3
        assert keys["keys"][0]["from"].endswith("hub.db.key")
        assert here.hub.ended(signal.SIGTERM) == 0
        rotate(here, key)
        refuse_without(here, key)


def rotate(here: Place, key: str) -> None:
    done = here.run("keys", "rotate", "--new", "--json").json()
    assert done["changed"] == 3
    assert (done["clear"], done["exposed"], done["altered"]) == (0, 0, [])
    status = here.run("keys", "status")
    assert (status.code, "seals, 3 rows" in status.out, "opens, 0 rows" in status.out) == (0, True, True)
    kept = (here.folder / "run/hub.db.key").read_text()
    assert (kept.count("mpk_"), key in kept) == (2, True)


def refuse_without(here: Place, key: str) -> None:
    """Neither with the former key alone, nor with another, nor with none does it start; and it says so."""
    file = here.folder / "run/hub.db.key"
    new = re.findall(r"^mpk_\S+$", file.read_text(), re.M)[0]
    wanted = here.run("keys", "status", "--json").json()["keys"][0]["id"]
    file.rename(here.folder / "kept elsewhere")
    for given in (key, new_key().text, "not a key", None):
        env = here.env if given is None else here.env | {"MILEPOST_ENCRYPTION_KEY": given}
        refused = run(["serve", "--port", "0"], here.folder, env)
        assert refused.code == 2, refused
        assert (wanted if given != "not a key" else "holds something that is no key") in refused.err
        assert "Traceback" not in refused.err
        assert found([given or key, new], refused.out, refused.err) == []
        assert not file.exists()
    status = here.run("keys", "status")
    assert (status.code, f"key {wanted} is missing" in status.err) == (1, True)
    doctor = here.run("doctor", "--json")
    assert f"key {wanted} is missing" in doctor.out
    with started(["serve", "--port", "0"], here.folder, here.env | {"MILEPOST_ENCRYPTION_KEY": new}) as hub:
        hub.url()


@pytest.mark.timeout(400)
async def test_on_postgresql_no_row_holds_one(postgres_url: str, tmp_path: Path, receiver: Recorder) -> None:
    key = new_key()
    settings = {"EGRESS_ALLOW": "127.0.0.0/8", "ENCRYPTION_KEY": key.text}
    with place(tmp_path, database=postgres_url, **settings) as here:
        canaries = subscribe(here, receiver.url)
        assert await rows_with([*canaries, key.text], postgres_url) == []
        backup = here.run("backup", "one.backup")
        assert (backup.code, "pg_dump" in backup.err) == (2, True)
        rotated = run(
            ["keys", "rotate", "--json"],
            tmp_path,
            here.env | {"MILEPOST_ENCRYPTION_KEY": f"{new_key().text},{key.text}"},
        )
        assert rotated.json()["changed"] == 3


@pytest.mark.timeout(400)
def test_on_postgresql_without_a_key_a_secret_is_refused(postgres_url: str, tmp_path: Path) -> None:
    with place(tmp_path, database=postgres_url) as here:
        unsigned = ("subscribers", "add", "open", "--to", "https://shop.example/hook", "--signature", "none")
        assert here.run(*unsigned).code == 0
        refused = here.run("subscribers", "add", "signed", "--to", "https://shop.example/hook")
        assert (refused.code, "set MILEPOST_ENCRYPTION_KEY" in refused.err) == (1, True), refused
        assert len(here.get("/v1/subscribers")["items"]) == 1


def test_settings_show_no_secret() -> None:
    """Whatever has a secret's name is kept so that neither a log nor a traceback shows it."""
    named = re.compile(r"(password|secret|_key|_keys|smtp_url)$")
    given = {
        "webhook_password": CANARIES[0],
        "oauth_client_secret": CANARIES[0],
        "webhook_api_key": CANARIES[0],
        "api_key": CANARIES[0],
        "tracking_secret": CANARIES[0] * 2,
        "bwp_client_secret": CANARIES[0],
        "notification_webhook_secret": CANARIES[0],
        "encryption_key": new_key().text,
        "smtp_url": f"smtp://shop:{CANARIES[0]}@mail.example:587",
    }
    secret = {name for name in Config.model_fields if named.search(name)} - {"webhook_api_keys"}
    assert secret == set(given)
    config = Config(**given)  # type: ignore[arg-type]
    shown = f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
    assert found([CANARIES[0], given["encryption_key"]], shown) == []
    # An address stays one, and is not shown where a password may be in it.
    address = Config(database_url=f"postgresql://us:{CANARIES[0]}@db.example/milepost")  # type: ignore[call-arg]
    assert found([CANARIES[0]], f"{address!r} {address}") == []


def test_a_new_key_is_printed_and_kept_nowhere(tmp_path: Path) -> None:
    ran = run(["keys", "new"], tmp_path, environment())
    assert re.fullmatch(r"mpk_[A-Za-z0-9_-]{43}\n", ran.out)
    assert run(["keys", "new", "--json"], tmp_path, environment()).json()["key"] != ran.out.strip()
    assert list(tmp_path.iterdir()) == []


async def rows_with(canaries: list[str], url: str) -> list[str]:
    """What a dump of the database would show."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        texts: list[bytes | str] = []
        for (table,) in tables:
            for row in await connection.fetch(f'SELECT * FROM "{table}"'):
                texts += [value if isinstance(value, bytes) else str(value) for value in row]
        return found(canaries, *texts)
    finally:
        await connection.close()
