"""Fuzz the Standard Webhooks verifier: `PYTHONPATH=. python tests/fuzz/fuzz_webhook_signature.py -runs=1000000`.

The invariant: any headers and any bytes are accepted or `Unauthenticated`, nothing else, and what is accepted was
signed with a key: the signature over the id, the timestamp and the body as they came is among the entries. Both
kinds of key are asked.
"""

import sys
from base64 import b64encode

import atheris

with atheris.instrument_imports(include=["milepost"]):
    from tests.public_keys import checker_of

    from milepost.domain.errors import Unauthenticated
    from milepost.domain.instant import SECOND, Instant
    from milepost.domain.webhook_signature import ID, SIGNATURE, TIMESTAMP, Secret, sign, verify
    from milepost.pipeline.signing_keys import public_key_of, signer_of

KEY = Secret(b"k" * 32)
PRIVATE = "whsk_" + b64encode(b"p" * 32).decode()
PAIR = signer_of(PRIVATE)
CHECK = checker_of(public_key_of(PRIVATE))
AT = Instant(1_614_265_330 * SECOND)
BODY = b'{"test": 2432232314}'
NAMES = (ID.encode(), TIMESTAMP.encode(), SIGNATURE.encode())


def check(headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
    """Check the invariant; returns whether it was accepted."""
    try:
        verify(headers, body, AT, [KEY], [CHECK])
    except Unauthenticated:
        return False
    found = {key.lower(): value for key, value in headers}
    name, timestamp, entries = (found[key] for key in NAMES)
    assert b"." not in name
    assert timestamp.isdigit()
    signed = b"%b.%b.%b" % (name, timestamp, body)
    given = entries.split(b" ")
    assert b"v1," + b64encode(KEY.digest(signed)) in given or b"v1a," + b64encode(PAIR(signed)) in given
    return True


def damaged(data: bytes) -> None:
    """A good request with the fuzzer's bytes in place of some of its own."""
    by_pair = data[2] & 16
    keys = ([], [PAIR]) if by_pair else ([KEY], [])
    good = [(k.encode(), v.encode()) for k, v in sign("msg_1", AT, BODY, *keys).items()]
    assert check(good, BODY)
    which, start, length, rest = data[0] % 4, data[1], data[2] % 16, data[3:]
    if which == 3:
        check(good, BODY[: start % len(BODY)] + rest)
        return
    name, value = good[which]
    start %= len(value)
    good[which] = (name, value[:start] + rest + value[start + length :])
    check(good, BODY)
    check([*good, (name.title(), rest)], BODY)


def main() -> None:
    def one(data: bytes) -> None:
        parts = data.split(b"\0")
        check([*zip(NAMES, parts, strict=False)], data)
        check([(NAMES[0], b"m"), (NAMES[1], b"1614265330"), (NAMES[2], b"v1," + b64encode(data))], data)
        check([(NAMES[0], b"m"), (NAMES[1], b"1614265330"), (NAMES[2], b"v1a," + b64encode(data))], data)
        check([(NAMES[0], b"m"), (NAMES[1], b"1614265330"), (NAMES[2], data)], BODY)
        if len(data) > 3:
            damaged(data)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
