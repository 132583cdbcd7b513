"""What commands print for people, from what a hub or a sandbox answers; at 80 columns where that matters."""

from typing import Any

import pytest
from typer.testing import CliRunner

from milepost.cli.client import HubClient, console
from milepost.cli.main import app


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By path, what is answered whatever the method; a narrow terminal reads it."""
    known: dict[str, Any] = {}
    monkeypatch.setattr(console, "width", 80)
    monkeypatch.setattr(HubClient, "_json", lambda self, method, path, **request: known[path])
    return known


def told(*arguments: str, code: int = 0) -> str:
    ran = CliRunner().invoke(app, list(arguments))
    assert ran.exit_code == code, ran.output
    return ran.output


# ── Clock ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pace", "words"),
    [(1.0, ", at the real pace; "), (26_880.0, ", at 26880 times the real pace; "), (0.0, ", at a stand; ")],
)
def test_the_clock_is_told_by_the_pace_it_really_has(
    answers: dict[str, Any], pace: float, words: str
) -> None:
    now = "2025-01-21T01:00:00Z"
    answers["/sandbox/clock"] = {"now": now, "speed": 26_880.0, "pace": pace, "nextStepAt": None}
    assert words in told("sandbox", "clock", "show")
