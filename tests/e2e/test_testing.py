"""The pytest plugin as another project uses it: docs/testing.md's own project, run by pytest in a process of its own.

Green when its handler is right, red when it is wrong, and red with the words that say why. pytest finds the plugin by
the entry point that pyproject.toml declares, and loads no other: it does not matter what this environment has.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 110.0
FILES = ("handler.py", "conftest.py", "test_handler.py")
ONCE = '        if event["eventId"] not in parcels:\n    '
BY_EVENT = 'parcels[event["eventId"]]'
ANSWER = "        self.send_response(204)\n"


class Outcome(NamedTuple):
    passed: int
    failed: int
    errors: int
    text: str


def page() -> dict[str, str]:
    """The three files that docs/testing.md shows, and its other examples as tests of the same project."""
    text = (ROOT / "docs" / "testing.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    others = {f"test_more_{n}.py": block for n, block in enumerate(blocks[3:])}
    return dict(zip(FILES, blocks[:3], strict=True)) | others


def entry_points() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared: dict[str, str] = project["entry-points"]["pytest11"]
    return declared


def installed(folder: Path) -> Path:
    """Where Python finds what an installer would have written of the entry points."""
    info = folder / "installed" / "milepost_of_the_test-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {module}\n" for name, module in entry_points().items()]
    (info / "entry_points.txt").write_text("".join(["[pytest11]\n", *lines]), "utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: milepost-of-the-test\nVersion: 1\n", "utf-8")
    return info.parent


def run(folder: Path, files: dict[str, str], *arguments: str, settings: str = "") -> Outcome:
    """Run pytest on a project of these files, warnings being errors."""
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{settings}", "utf-8")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MILEPOST_", "PYTEST_"))
    }
    # Neither a proxy nor Milepost's own settings have a part in anybody's tests.
    foreign = {
        "MILEPOST_SIGNATURE_JWKS_URL": "http://127.0.0.1:9/jwks.json",
        "http_proxy": "http://127.0.0.1:9",
    }
    path = os.pathsep.join([str(ROOT / "src"), str(installed(folder))])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "milepost", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=kept | foreign | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    text = done.stdout + done.stderr
    return Outcome(counts.get("passed", 0), counts.get("failed", 0), counts.get("error", 0), text)


def test_a_right_handler_passes_everything_that_the_page_shows(tmp_path: Path) -> None:
    outcome = run(tmp_path, page(), "--strict-markers")
    assert outcome[:3] == (3, 0, 0), outcome.text


WRONG = {
    "counts every copy": (
        ONCE + f"        {BY_EVENT}",
        "        parcels[str(len(parcels))]",
        "assert 2 == 1",
    ),
    "answers 500": (ANSWER, ANSWER.replace("204", "500"), "2 of 2 messages were not taken"),
    "answers nothing": (ANSWER, "        self.close_connection = True\n        return\n", "is failed: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_handler_fails_the_five_lines(tmp_path: Path, name: str) -> None:
    right, wrong, said = WRONG[name]
    files = {each: text for each, text in page().items() if each in FILES}
    assert right in files["handler.py"]
    files["handler.py"] = files["handler.py"].replace(right, wrong)
    outcome = run(tmp_path, files)
    assert outcome[:3] == (0, 1, 0), outcome.text
    assert said in outcome.text, outcome.text


HOLDS = """
import socket

import pytest

from milepost.testing import BuyWithPrime, MilepostHub, NotDelivered


def test_nobody_subscribed(buy_with_prime: BuyWithPrime) -> None:
    buy_with_prime.trigger("PACKAGE_DELIVERED")
    with pytest.raises(NotDelivered, match="nobody is subscribed"):
        buy_with_prime.wait_until_delivered()


def test_each_test_has_a_world_of_its_own(buy_with_prime: BuyWithPrime) -> None:
    assert buy_with_prime.events() == []
    assert buy_with_prime.deliveries == []


def test_what_is_refused_is_said(buy_with_prime: BuyWithPrime, hook: str) -> None:
    with pytest.raises(KeyError):
        buy_with_prime.order("322-NONE")
    with pytest.raises(KeyError, match="322-NONE"):
        buy_with_prime.trigger("PACKAGE_DELIVERED", order="322-NONE")
    with pytest.raises(ValueError, match="there is no scenario"):
        buy_with_prime.trigger("no-such-scenario")
    with pytest.raises(ValueError, match="noSuchFault"):
        buy_with_prime.faults(no_such_fault=1)
    with pytest.raises(ValueError, match="duplicate"):
        buy_with_prime.faults(duplicate=2)
    with pytest.raises(ValueError, match="nothing is planned"):
        buy_with_prime.step()
    with pytest.raises(ValueError, match="ccess"):
        buy_with_prime.subscribe(hook, "NO_SUCH_EVENT")
    assert buy_with_prime.events() == []


def test_credentials_and_deliveries(buy_with_prime: BuyWithPrime, hook: str, milepost_hub: MilepostHub) -> None:
    (subscription,) = buy_with_prime.subscribe(hook, "PACKAGE_DELIVERED", "ann", "secret")
    caused = buy_with_prime.trigger("PACKAGE_DELIVERED")
    again = buy_with_prime.trigger("PACKAGE_DELIVERED", order=caused.order_id)
    assert again.order_id == caused.order_id
    milepost_hub.wait_until_settled()
    mine = [d for d in buy_with_prime.deliveries if d.subscription_id == subscription]
    assert {(d.type, d.state, d.statuses, d.errors) for d in mine} == {("PACKAGE_DELIVERED", "delivered", (204,), ())}
    assert [d.event_id for d in mine] == [c.events[-1]["eventId"] for c in (caused, again)]
    assert len(buy_with_prime.deliveries) == len(mine) + len(buy_with_prime.events())
    order = milepost_hub.order(caused.order_id)
    assert order["state"] == "DELIVERED"
    world = buy_with_prime.order(caused.order_id)["packageInformation"]["details"]
    assert [d["id"] for d in order["deliveries"]] == [d["id"] for d in world]
    with pytest.raises(KeyError):
        milepost_hub.order("322-NONE")


def test_a_handler_that_never_answers_keeps_nobody(buy_with_prime: BuyWithPrime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        buy_with_prime.subscribe(f"http://127.0.0.1:{silent.getsockname()[1]}/hook")
        buy_with_prime.trigger("PACKAGE_DELIVERED")
        with pytest.raises(NotDelivered, match="within 0.5 s\\n.*PACKAGE_.* is pending: not answered yet"):
            buy_with_prime.wait_until_delivered(0.5)


def test_the_hub_wants_its_credentials(buy_with_prime: BuyWithPrime, milepost_hub: MilepostHub) -> None:
    buy_with_prime.subscribe(milepost_hub.webhook_url + "?again", "PACKAGE_DELIVERED", "ann", "wrong")
    buy_with_prime.trigger("PACKAGE_DELIVERED")
    with pytest.raises(NotDelivered, match="1 of 7 messages were not taken\\n.*answered 401"):
        milepost_hub.wait_until_settled()


def test_the_real_clock_can_be_stepped(buy_with_prime: BuyWithPrime, milepost_hub: MilepostHub) -> None:
    order_id = buy_with_prime.trigger("happy-path").order_id
    before = buy_with_prime.clock.now()
    buy_with_prime.step("30d")
    assert buy_with_prime.clock.now() - before >= 30 * 86_400_000
    milepost_hub.wait_until_settled()
    assert milepost_hub.order(order_id)["state"] == "DELIVERED"


@pytest.mark.milepost(clock="stepped", start="2025-03-01T00:00:00Z", seed=7)
class TestStepped:
    seen: list[object] = []

    @pytest.mark.parametrize("turn", [1, 2])
    def test_the_same_world_each_time(
        self, buy_with_prime: BuyWithPrime, milepost_hub: MilepostHub, turn: int
    ) -> None:
        order_id = buy_with_prime.trigger("happy-path").order_id
        for _ in range(99):
            try:
                buy_with_prime.step()
            except ValueError:
                break
            milepost_hub.wait_until_settled()
        assert milepost_hub.order(order_id)["state"] == "DELIVERED"
        events = [{k: e[k] for k in ("eventId", "eventTime", "resources")} for e in buy_with_prime.events()]
        assert events[0]["eventTime"] >= "2025-03-01T00:00:00Z"
        self.seen.append(events)
        assert self.seen[0] == events

    def test_a_retry_that_is_ahead_is_said(self, buy_with_prime: BuyWithPrime, hook: str) -> None:
        buy_with_prime.subscribe(hook, "PACKAGE_DELIVERED")
        buy_with_prime.faults(wrong_credentials=1, delay_seconds=60)
        buy_with_prime.trigger("PACKAGE_DELIVERED")
        with pytest.raises(NotDelivered, match="stands still at 2025-03-01T00:00:00Z.*due at 2025-03-01T00:01:00Z"):
            buy_with_prime.wait_until_delivered()
        assert buy_with_prime.step("60s") == "2025-03-01T00:01:00Z"
        buy_with_prime.wait_until_delivered()
"""


def test_what_the_fixtures_hold(tmp_path: Path) -> None:
    files = page()
    outcome = run(
        tmp_path,
        {"handler.py": files["handler.py"], "conftest.py": files["conftest.py"], "test_it.py": HOLDS},
    )
    assert outcome[:3] == (10, 0, 0), outcome.text


MISUSED = """
import pytest


@pytest.mark.milepost(clock="sundial")
def test_one(buy_with_prime):
    pass


@pytest.mark.milepost("stepped")
def test_two(buy_with_prime):
    pass
"""


def test_how_it_is_misused_is_said(tmp_path: Path) -> None:
    outcome = run(tmp_path, {"test_it.py": MISUSED})
    assert outcome[:3] == (0, 0, 2), outcome.text
    assert "the clock of buy_with_prime is real or stepped" in outcome.text
    assert "takes clock, start and seed, by name" in outcome.text
    outcome = run(tmp_path, {}, settings="milepost_clock = sundial")
    assert outcome[:3] == (0, 0, 0)
    assert "milepost_clock is real or stepped" in outcome.text


STANDS = """
def test_one(buy_with_prime):
    assert buy_with_prime.step("2h") == "2025-01-20T14:00:00Z"
"""


def test_the_ini_file_says_which_clock(tmp_path: Path) -> None:
    outcome = run(tmp_path, {"test_it.py": STANDS}, settings="milepost_clock = stepped")
    assert outcome[:3] == (1, 0, 0), outcome.text


def test_a_run_that_does_not_use_it_pays_nothing_for_it() -> None:
    (module,) = entry_points().values()
    text = (
        f"import sys, pytest; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", text],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    ).stdout.split()
    assert sorted(loaded) == ["milepost", "milepost.testing"]
