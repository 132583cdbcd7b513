"""What became of a notification in plain words, for agents: which steps are told, and how."""

from typing import Any

import pytest

from milepost.domain.instant import Instant
from milepost.domain.notification import HISTORY, Notification, Transition, move
from milepost.domain.notification_wording import RULE_TEXTS, outcomes, rule_text

NOW = Instant(1_000)


def notification(*steps: tuple[str, str], **fields: Any) -> Notification:
    """One that went through these (action, by)."""
    first = (Transition(NOW, "WAITING", "projector"),)
    made = Notification("ntf_1", "bp", "o", "d", "shipped", "", "WAITING", NOW, NOW, NOW, first, **fields)
    for number, (action, by) in enumerate(steps):
        made = move(made, action, Instant(NOW + number), by)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("steps", "states"),
    [
        ((), ["WAITING"]),
        ((("postpone", "notifier"),), ["WAITING"]),
        ((("claim", "notifier"),), ["SENDING"]),
        (
            (("claim", "notifier"), ("again", "notifier"), ("claim", "notifier"), ("sent", "notifier")),
            ["SENT"],
        ),
        ((("suppress", "key_1"),), ["SUPPRESSED"]),
        ((("claim", "notifier"), ("lose", "notifier"), ("resend", "key_1")), ["UNCERTAIN", "WAITING"]),
        (
            (("suppress", "notifier"), ("resend", "key_1"), ("claim", "notifier"), ("sent", "notifier")),
            ["SUPPRESSED", "WAITING", "SENT"],
        ),
    ],
)
def test_what_became_of_it_is_told_and_what_somebody_did(
    steps: tuple[tuple[str, str], ...], states: list[str]
) -> None:
    assert [step.state for step, _ in outcomes(notification(*steps))] == states


def test_only_the_last_time_names_its_channel() -> None:
    """The ledger keeps one."""
    twice = (("claim", "notifier"), ("sent", "notifier"))
    made = notification(*twice, ("resend", "key_1"), *twice, channel="webhook")
    texts = [text for _, text in outcomes(made)]
    assert texts == [
        "The shopper was told that the parcel was shipped.",
        "The shopper is to be told that the parcel was shipped. By key_1.",
        "The shopper was told that the parcel was shipped, by webhook.",
    ]


def test_a_long_history_is_told_as_far_as_it_is_kept() -> None:
    again = (("claim", "notifier"), ("again", "notifier")) * HISTORY
    assert [step.state for step, _ in outcomes(notification(*again))] == ["WAITING"]


def test_a_rule_has_a_sentence_and_none_has_none() -> None:
    assert rule_text(6) == RULE_TEXTS[6]
    assert (rule_text(0), rule_text(18)) == (None, None)
