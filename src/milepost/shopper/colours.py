"""Colours that can be read: the shop's colour, corrected until text in it has contrast enough (WCAG 2, 1.4.3).

A shop chooses one colour. On a light page it may be too pale and on a dark one too deep, so it is moved towards black
or white, in as small steps as do. What is coloured with it is the templates'.
"""

from typing import Final

ENOUGH: Final = 4.5
"""Contrast of text with what is behind it."""
_STEPS: Final = 50

_MIDDLE: Final = 0.179
"""The luminance at which black and white are equally easy to read."""
_BLACK, _WHITE = "#000000", "#ffffff"

Rgb = tuple[int, int, int]


def readable(colour: str, background: str) -> str:
    """The colour (#rrggbb), moved away from the background's lightness until it can be read on it."""
    towards = _BLACK if _luminance(background) > _MIDDLE else _WHITE
    mixes = (_mix(colour, towards, step / _STEPS) for step in range(_STEPS + 1))
    return next(mixed for mixed in mixes if contrast(mixed, background) >= ENOUGH)


def on(background: str) -> str:
    """Black or white, whichever is easier to read on this: one of both always has contrast enough."""
    return max(_WHITE, _BLACK, key=lambda colour: contrast(colour, background))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours: 1 (the same) to 21 (black and white)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel / 255) for channel in _read(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def _mix(colour: str, other: str, share: float) -> str:
    mixed = (round(a + (b - a) * share) for a, b in zip(_read(colour), _read(other), strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _read(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
