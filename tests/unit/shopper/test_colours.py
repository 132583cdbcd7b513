"""Colours can be read on what they stand on, whatever a shop chose."""

import random

import pytest

from milepost.shopper.colours import ENOUGH, contrast, on, readable


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#0000ff", "#ffffff", 8.59),
        ("#ff0000", "#ffffff", 4.0),
    ],
)
def test_contrast_is_that_of_wcag(one: str, other: str, expected: float) -> None:
    assert contrast(one, other) == pytest.approx(expected, abs=0.01)
    assert contrast(other, one) == contrast(one, other)


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert readable("#2457a6", "#ffffff") == "#2457a6"
    assert readable("#FFE600", "#1d2025") == "#ffe600"


def test_any_colour_can_be_read_on_any_background() -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    draw = random.Random(seed)
    colours = [f"#{draw.randrange(1 << 24):06x}" for _ in range(400)]
    for colour in ["#000000", "#ffffff", "#808080", *colours]:
        for background in ("#ffffff", "#f1f3f5", "#1d2025", "#272b32", "#000000", draw.choice(colours)):
            assert contrast(readable(colour, background), background) >= ENOUGH, (colour, background)
        assert contrast(on(colour), colour) >= ENOUGH, colour


def test_it_is_changed_no_more_than_it_must() -> None:
    """A yellow becomes a dark yellow, not black."""
    mended = readable("#ffe600", "#ffffff")
    assert ENOUGH <= contrast(mended, "#ffffff") < ENOUGH + 0.4
    red, green, blue = (int(mended[place : place + 2], 16) for place in (1, 3, 5))
    assert red > 90
    assert green > 80
    assert blue == 0
