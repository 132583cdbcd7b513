"""`milepost notifications`: what it asks a hub, what it prints of its answers, and previews that need none."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.test_captures import Hub
from tests.unit.cli.test_captures import hub as hub

from milepost.shopper.samples import SAMPLES

NOTIFICATION: dict[str, Any] = {
    "id": "ntf_5b1a4f0c2d",
    "businessProductId": "bp-1",
    "orderId": "322-ABCD-EFGH12",
    "deliveryId": "delivery-1",
    "kind": "shipped",
    "ordinal": None,
    "state": "SUPPRESSED",
    "text": "The shopper was not told that the parcel was shipped.",
    "rule": 6,
    "ruleText": "Something later happened while it was held back.",
    "reason": "delivered [came]",
    "occurredAt": "2025-01-20T12:00:00Z",
    "decidedAt": "2025-01-20T12:00:00Z",
    "dueAt": None,
    "sentAt": None,
    "channel": None,
    "locale": None,
    "recipient": None,
    "covers": [],
    "tries": 0,
    "byHand": False,
    "history": [
        {
            "at": "2025-01-20T12:00:00Z",
            "state": "WAITING",
            "by": "projector",
            "rule": None,
            "ruleText": None,
            "reason": "",
        },
        {
            "at": "2025-01-20T12:10:00Z",
            "state": "SUPPRESSED",
            "by": "notifier",
            "rule": 6,
            "ruleText": "Something later happened while it was held back.",
            "reason": "delivered [came]",
        },
    ],
    "actions": ["resend"],
}
WAITING = NOTIFICATION | {
    "state": "WAITING",
    "rule": None,
    "ruleText": None,
    "dueAt": "2025-01-20T12:10:00Z",
    "recipient": "rcp_1",
    "locale": "es",
    "covers": ["ntf_2", "ntf_3"],
    "actions": [],
}
CHOICES: dict[str, Any] = {
    "recipient": "rcp_1",
    "businessProductId": "bp-1",
    "off": ["delayed"],
    "locale": None,
    "blocked": "asked [us]",
    "blockedAt": "2025-01-20T12:00:00Z",
    "changedAt": "2025-01-20T12:00:00Z",
}


def test_a_list_is_narrowed_and_says_which_rule(hub: Hub) -> None:
    hub.answers["/v1/notifications"] = {"items": [NOTIFICATION, WAITING], "next": None}
    out = hub.run(
        "notifications", "list", "--order", "o-1", "--state", "SENT", "--kind", "lost", "--rule", "6"
    )
    ((_, _, asked),) = hub.asked
    assert asked == {"orderId": "o-1", "state": "SENT", "kind": "lost", "rule": 6, "limit": 100}
    first, second = out.splitlines()
    assert first.endswith("ntf_5b1a4f0c2d SUPPRESSED rule 6 322-ABCD-EFGH12 shipped")
    assert second.endswith("ntf_5b1a4f0c2d WAITING 322-ABCD-EFGH12 shipped")
    hub.answers["/v1/notifications"] = {"items": [], "next": None}
    assert "MILEPOST_NOTIFICATIONS" in hub.run("notifications", "list")
    assert hub.run("notifications", "list", "--kind", "lost") == "no such notification\n"
    assert hub.run("notifications", "list", "--json") == "[]\n"


def test_one_is_shown_whole(hub: Hub) -> None:
    hub.answers["/v1/notifications/ntf_1"] = NOTIFICATION
    out = hub.run("notifications", "show", "ntf_1")
    for words in (
        "ntf_5b1a4f0c2d SUPPRESSED The shopper was not told that the parcel was shipped.",
        "rule 6: Something later happened while it was held back.",
        "shipped of order 322-ABCD-EFGH12, delivery delivery-1",
        "SUPPRESSED rule 6 by notifier: delivered [came]",
        "now: resend",
    ):
        assert words in out
    hub.answers["/v1/notifications/ntf_1"] = WAITING
    out = hub.run("notifications", "show", "ntf_1")
    for words in ("due ", "recipient rcp_1, language es", "ntf_2, ntf_3", "nothing can be done to it"):
        assert words in out
    assert json.loads(hub.run("notifications", "show", "ntf_1", "--json")) == WAITING


def test_one_is_sent_again_with_consent_or_suppressed(hub: Hub) -> None:
    for verb in ("resend", "suppress"):
        hub.answers[f"/v1/notifications/ntf_1/{verb}"] = NOTIFICATION
    hub.run("notifications", "resend", "ntf_1", "--reason", "asked")
    hub.run("notifications", "resend", "ntf_1", "--may-arrive-twice")
    hub.run("notifications", "suppress", "ntf_1", "--reason", "told")
    assert [body for _, _, body in hub.asked] == [
        {"reason": "asked"},
        {"reason": "", "acknowledge": "may arrive twice"},
        {"reason": "told"},
    ]
    assert [path.rpartition("/")[2] for _, path, _ in hub.asked] == ["resend", "resend", "suppress"]


@pytest.mark.parametrize(("whom", "field"), [("ada@example.com", "email"), ("rcp_1", "recipient")])
def test_a_shopper_is_blocked_and_let_go(hub: Hub, whom: str, field: str) -> None:
    hub.answers["/v1/choices"] = CHOICES
    out = hub.run("notifications", "block", whom, "--reason", "asked [us]")
    assert out == "rcp_1 blocked: asked [us]; switched off: delayed\n"
    hub.answers["/v1/choices"] = CHOICES | {"blocked": None, "off": []}
    assert hub.run("notifications", "unblock", whom) == "rcp_1 not blocked\n"
    assert hub.asked == [
        ("PUT", "/v1/choices", {field: whom, "blocked": "asked [us]"}),
        ("PUT", "/v1/choices", {field: whom, "blocked": None}),
    ]
    assert json.loads(hub.run("notifications", "unblock", whom, "--json"))["off"] == []


# ── How it looks ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_sample_is_shown_without_a_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILEPOST_SHOP_NAME", "Kettle & Sons [shop]")
    out = hub.run("notifications", "preview", kind, "--locale", "es", "--html", "mail.html")
    assert hub.asked == []
    assert "Kettle & Sons [shop]" in out
    assert "the HTML is in mail.html" in out
    html = (tmp_path / "mail.html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert '<html lang="es"' in html
    document = json.loads(hub.run("notifications", "preview", kind, "--json"))
    assert document["locale"] == "en"
    assert document["text"] == document["document"]["text"]


def test_an_order_of_a_hub_is_shown(hub: Hub) -> None:
    path = "/v1/notifications/preview"
    hub.answers[path] = {"subject": "It [came]", "text": "Hello [you]\n", "html": "<p>", "kind": "delivered"}
    assert hub.run("notifications", "preview", "delivered", "--order", "o-1") == "It [came]\n\nHello [you]\n"
    asked = {"kind": "delivered", "orderId": "o-1", "format": "json"}
    assert hub.asked == [("GET", path, asked)]


def test_what_there_is_not_is_refused(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (("letter",), ("delivered", "--locale", "xx")):
        hub.run("notifications", "preview", *arguments, code=1)
