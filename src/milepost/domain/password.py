"""Which passwords people may set. Hashing is `web.hashing`'s.

Length is what counts (NIST SP 800-63B 3.1.1.2: no rules about characters, no expiry, a check against what is common);
so there is no demand for digits or signs, but twelve characters and none of the patterns that are tried first.
"""

import re
import unicodedata
from typing import Final

SHORTEST: Final = 12
LONGEST: Final = 256
"""Characters. Hashing takes longer, the longer a password is."""
_FEWEST_DIFFERENT: Final = 5

_STEMS: Final = frozenset(
    {
        *(
            "password",
            "passwort",
            "passw0rd",
            "letmein",
            "welcome",
            "iloveyou",
            "admin",
            "administrator",
            "changeme",
        ),
        *(
            "qwerty",
            "qwertyuiop",
            "qwertz",
            "azerty",
            "asdfghjkl",
            "zxcvbnm",
            "1qaz2wsx",
            "1q2w3e4r5t",
            "abcdefghijkl",
        ),
        *(
            "milepost",
            "dragon",
            "monkey",
            "football",
            "baseball",
            "sunshine",
            "princess",
            "trustno",
            "superman",
        ),
        *(
            "batman",
            "master",
            "shadow",
            "michael",
            "secret",
            "default",
            "login",
            "computer",
            "internet",
            "whatever",
        ),
        *(
            "correcthorsebatterystaple",
            "buywithprime",
            "amazon",
            "test",
            "user",
            "root",
            "guest",
            "qazwsxedc",
        ),
    }
)
"""The words that most leaked passwords of this length are made of, alone, twice, or with digits and signs around."""
_AROUND: Final = "0123456789!?.,@#$%&*+_- "
_RUNS: Final = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")


def normal(password: str) -> str:
    """The same password however a keyboard composes its characters (NIST SP 800-63B 3.1.1.2: NFKC)."""
    return unicodedata.normalize("NFKC", password)


def complaint(password: str, sign_in_name: str) -> str | None:
    """What is wrong with a new password, as a sentence for whoever chose it; None: nothing."""
    text = normal(password)
    if len(text) < SHORTEST:
        return (
            f"Too short: use {SHORTEST} characters or more. A few words that mean nothing together are good."
        )
    if len(text) > LONGEST:
        return f"Too long: use {LONGEST} characters or fewer."
    low, own = text.casefold(), normal(sign_in_name).casefold().strip()
    if own and _is_made_of(low, own):
        return "This is your sign-in name. Use something that nobody knows of you."
    if len(set(low)) < _FEWEST_DIFFERENT:
        return "Too few different characters: it would be tried early."
    if _is_common(low):
        return "This is one of the passwords that are tried first. Use words that nobody would put together."
    return None


def _is_common(low: str) -> bool:
    if any(low in run or low[::-1] in run for run in _RUNS):
        return True
    joined = re.sub(r"[\W_]+", "", low)
    return any(_is_made_of(text, stem) for text in (low, joined) for stem in _STEMS)


def _is_made_of(text: str, stem: str) -> bool:
    """Whether nothing but digits and signs is left without the stem."""
    return stem in text and not text.replace(stem, "").strip(_AROUND)
