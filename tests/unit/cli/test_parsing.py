"""What options of the commands mean."""

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from milepost.cli.client import HubClient
from milepost.cli.listen import login, parse_events
from milepost.cli.main import app
from milepost.cli.sandbox import parse_schedule
from milepost.cli.sandbox_publishing import _EVENT_ID
from milepost.cli.sandbox_world import option, values
from milepost.domain.errors import Invalid
from milepost.domain.instant import MINUTE, SECOND
from milepost.sandbox.faults import Faults, every_field, parse_options


@pytest.mark.parametrize(
    ("text", "delays"),
    [
        ("0s,5s,5m", (0, 5 * SECOND, 5 * MINUTE)),
        (" 0s , 1m30s ", (0, 90 * SECOND)),
        ("100ms", (100,)),
    ],
)
def test_a_schedule_is_a_list_of_delays(text: str, delays: tuple[int, ...]) -> None:
    assert parse_schedule(text).delays == delays


@pytest.mark.parametrize("text", ["", "5", "soon", "0s,,5s", "0s,-5s", "0s,"])
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(Invalid):
        parse_schedule(text)


def test_event_types_are_taken_as_they_are_named() -> None:
    assert parse_events(" PACKAGE_DELIVERED,DELIVERY_COMPLETED, PACKAGE_DELIVERED,") == (
        "PACKAGE_DELIVERED",
        "DELIVERY_COMPLETED",
    )
    everything = parse_events(None)
    assert {"PACKAGE_TRACKER_MILESTONE_CHANGED", "REFUND_REQUESTED", "RETURN_STARTED"} <= set(everything)
    assert "INVENTORY_CHANGED" not in everything


@pytest.mark.parametrize("text", ["", " , ", "PACKAGE_DELIVERED,PACKAGE_LOST"])
def test_what_names_no_event_type_is_misuse(text: str) -> None:
    with pytest.raises(typer.Exit) as caught:
        parse_events(text)
    assert caught.value.exit_code == 2


def test_an_event_id_is_told_from_a_message_id() -> None:
    assert _EVENT_ID.fullmatch("625ce02b-f6fa-e43a-f0ad-df329ddac8ac")
    for message_id in ("12-hub", "7-625ce02b-f6fa-e43a-f0ad-df329ddac8ac", "7-625ce02b~1"):
        assert not _EVENT_ID.fullmatch(message_id)


def test_a_password_of_the_settings_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_WEBHOOK_USERNAME", "hub")
    monkeypatch.setenv("MILEPOST_WEBHOOK_PASSWORD", "of the settings")
    assert login(None, None) == ("hub", "of the settings", "MILEPOST_WEBHOOK_PASSWORD")
    assert login("me", "mine") == ("me", "mine", "mine")


def test_the_word_throttling_is_all_of_it() -> None:
    assert set(values(Faults(), ["throttling"])) == {"throttling", "throttlingRate"}
    assert set(values(Faults(), ["drop"])) == {"drop"}


@pytest.mark.parametrize(
    "text",
    [
        *("duplicate=0.2", "duplicate-count=3", "reorder-within=90s", "delay=500ms", "delay-rate=0.25"),
        *(
            "delay-types=PACKAGE_DELIVERED+REFUND_REQUESTED",
            "api-down=on",
            "throttling=1",
            "tracker-null=120s",
        ),
    ],
)
def test_a_fault_is_shown_as_it_is_set(text: str) -> None:
    plain = every_field(Faults())
    shown = msgspec.json.decode(msgspec.json.encode(every_field(parse_options([text]))))
    assert [option(name, value) for name, value in shown.items() if value not in (plain[name], [])] == [text]


def test_all_throttling_is_shown_as_the_word_that_sets_it() -> None:
    assert option("throttling", True) == "throttling=1"


@pytest.mark.parametrize("name", ["tracker-null", "trackerNullSeconds", "throttling", "throttlingRate"])
def test_a_fault_is_cleared_by_word_or_json_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(HubClient, "post", lambda self, path, body: sent.append(body) or {})
    assert CliRunner().invoke(app, ["sandbox", "faults", "clear", name]).exit_code == 0
    throttling = {"throttling": False, "throttlingRate": 0.0}
    assert sent == [throttling if name.startswith("throttling") else {"trackerNullSeconds": 0.0}]
