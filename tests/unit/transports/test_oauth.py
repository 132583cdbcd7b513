"""`POST /oauth/token` over real sockets, and the tokens it gives."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.errors import Unauthenticated
from milepost.domain.instant import MINUTE, SECOND, Instant
from milepost.transports.oauth import Client, FailureLimits, TokenEndpoint, Tokens

CLIENT = Client("amazon", ("s3cret+/%41 with space",), ("bp-1",))
GRANT = {"grant_type": "client_credentials"}
FORM = {**GRANT, "client_id": CLIENT.id, "client_secret": CLIENT.secrets[0]}

Post = Callable[..., Awaitable[tuple[int, Any, Any]]]


@pytest.fixture
async def post(serve_app: Any, clock: Any) -> Post:
    """(status, JSON, headers) of a token request."""
    served = await serve_app(TokenEndpoint(Tokens([CLIENT], clock=clock), clock=clock))

    async def send(method: str = "POST", **request: Any) -> tuple[int, Any, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, served.url + "/oauth/token", **request) as answer,
        ):
            return answer.status, await answer.json(content_type=None), answer.headers

    return send


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


async def test_a_token_for_the_form_s_credentials(post: Post, clock: Any) -> None:
    status, answer, headers = await post(data=FORM)

    assert status == 200
    assert list(answer) == ["access_token", "token_type", "expires_in"]
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 900)
    assert headers["Cache-Control"] == "no-store"
    assert Tokens([CLIENT], clock=clock).check(answer["access_token"].encode()) == ("bp-1",)


@pytest.mark.parametrize("secret", ["s3cret+/%41 with space", "s3cret%2B%2F%2541+with+space"])
async def test_a_token_for_a_basic_header_whether_its_parts_are_encoded_or_not(
    post: Post, secret: str
) -> None:
    assert (await post(data=GRANT, headers=basic("amazon", secret)))[0] == 200


NO_GRANT = {name: value for name, value in FORM.items() if name != "grant_type"}
AS_EVENTBRIDGE = {
    "User-Agent": "Amazon/EventBridge/ApiDestinations",
    "Range": "bytes=0-1048575",
    "Accept-Encoding": "gzip,deflate",
    "Connection": "close",
}


@pytest.mark.parametrize(
    "request_",
    [
        {"data": NO_GRANT},
        {"json": FORM},
        {"json": NO_GRANT},
        {"data": {**FORM, "audience": "milepost", "scope": "events"}},
        {"data": FORM, "headers": basic(CLIENT.id, CLIENT.secrets[0])},
        {"json": {}, "headers": basic(CLIENT.id, CLIENT.secrets[0])},
    ],
    ids=["no grant", "JSON", "JSON without grant", "more parameters", "twice the same", "header only"],
)
async def test_a_token_however_an_eventbridge_connection_asks_for_it(
    post: Post, clock: Any, request_: dict[str, Any]
) -> None:
    headers = {**AS_EVENTBRIDGE, **request_.get("headers", {})}
    status, answer, _ = await post(**{**request_, "headers": headers})

    assert (status, answer["token_type"]) == (200, "Bearer")
    assert Tokens([CLIENT], clock=clock).check(answer["access_token"].encode()) == ("bp-1",)


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        ({"data": {**FORM, "client_secret": "wrong"}}, 401, "invalid_client"),
        ({"data": {**FORM, "client_id": "unknown"}}, 401, "invalid_client"),
        ({"data": GRANT}, 401, "invalid_client"),
        ({"data": GRANT, "headers": basic("amazon", "wrong")}, 401, "invalid_client"),
        ({"data": GRANT, "headers": {"Authorization": "Basic *"}}, 401, "invalid_client"),
        ({"data": GRANT, "headers": {"Authorization": "Bearer x"}}, 401, "invalid_client"),
        ({"data": {**FORM, "grant_type": "password"}}, 400, "unsupported_grant_type"),
        ({"data": {**FORM, "grant_type": ""}}, 400, "unsupported_grant_type"),
        ({"data": FORM, "headers": basic("amazon", "x")}, 400, "invalid_request"),
        ({"data": FORM, "headers": basic("another", FORM["client_secret"])}, 400, "invalid_request"),
        ({"json": {**FORM, "client_secret": "wrong"}}, 401, "invalid_client"),
        ({"json": {**FORM, "client_secret": 1}}, 400, "invalid_request"),
        ({"json": [FORM]}, 400, "invalid_request"),
        ({"data": b"\xff", "headers": {"Content-Type": "application/json"}}, 400, "invalid_request"),
        ({"data": b"client_id=amazon", "headers": {"Content-Type": "text/plain"}}, 400, "invalid_request"),
        ({"data": [*FORM.items(), ("client_id", "again")]}, 400, "invalid_request"),
        ({"data": {**FORM, "scope": "x" * 9_000}}, 413, "invalid_request"),
    ],
)
async def test_refusals_are_those_of_the_standard(
    post: Post, request_: dict[str, Any], status: int, error: str
) -> None:
    answered, answer, headers = await post(**request_)

    assert (answered, answer["error"]) == (status, error)
    assert headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in headers) == (status == 401)


async def test_only_post_is_taken(post: Post) -> None:
    status, _, headers = await post("GET")

    assert (status, headers["Allow"]) == (405, "POST")


async def test_wrong_secrets_are_slowed_and_a_right_one_waits_six_seconds_at_most(
    post: Post, clock: Any
) -> None:
    wrong = {**FORM, "client_secret": "wrong"}
    burst = FailureLimits.ONE_CLIENT[0]

    statuses = [(await post(data=wrong))[0] for _ in range(burst + 2)]
    assert statuses == [401] * burst + [429] * 2
    status, answer, headers = await post(data=FORM)
    assert (status, answer["error"]) == (429, "temporarily_unavailable")
    assert 0 < int(headers["Retry-After"]) <= 6

    clock.pass_(6 * SECOND)
    assert (await post(data=FORM))[0] == 200
    assert (await post(data=wrong))[0] == 401
    assert (await post(data=wrong))[0] == 429


async def test_guesses_at_other_clients_never_lock_out_a_right_secret(post: Post) -> None:
    guesses = [
        (await post(data={**FORM, "client_id": f"guess-{n}"}))[0]
        for n in range(FailureLimits.ONE_ADDRESS[0] + 5)
    ]

    assert guesses == [401] * FailureLimits.ONE_ADDRESS[0] + [429] * 5
    assert (await post(data=FORM))[0] == 200


def test_all_addresses_together_are_limited_and_what_is_remembered_is_bounded() -> None:
    limits, now = FailureLimits(), Instant(0)
    burst, interval = FailureLimits.ALL

    waits = [limits.spend(("all",), FailureLimits.ALL, now) for _ in range(burst + 3)]
    assert waits == [0] * burst + [interval] * 3
    for n in range(10_000):
        limits.spend(("address", str(n)), FailureLimits.ONE_ADDRESS, now)
    assert len(limits._full_again) <= FailureLimits._KEYS
    assert limits.spend(("all",), FailureLimits.ALL, now) == interval


def test_a_token_outlives_a_restart_and_ends_after_its_lifetime(clock: Any) -> None:
    token = Tokens([CLIENT], clock=clock).issue(CLIENT.id, CLIENT.secrets[0]).encode()
    restarted = Tokens([CLIENT], clock=clock)

    clock.pass_(15 * MINUTE - 1)
    assert restarted.check(token) == ("bp-1",)
    clock.pass_(1)
    with pytest.raises(Unauthenticated, match="expired"):
        restarted.check(token)
    with pytest.raises(Unauthenticated, match="expired"):
        Tokens([CLIENT], clock=clock).check(token)


def test_rotation_overlaps_and_ends_with_the_old_secret(clock: Any) -> None:
    before, during, after = (
        Tokens([Client("amazon", secrets)], clock=clock) for secrets in (("old",), ("new", "old"), ("new",))
    )
    by_old, by_new = before.issue("amazon", "old").encode(), during.issue("amazon", "new").encode()

    assert during.check(by_old) == during.check(by_new) == after.check(by_new) == ()
    assert during.check(during.issue("amazon", "old").encode()) == ()
    for token in (by_old, during.issue("amazon", "old").encode()):
        with pytest.raises(Unauthenticated):
            after.check(token)
    with pytest.raises(Unauthenticated):
        after.issue("amazon", "old")


def test_the_id_and_the_secret_are_not_interchangeable(clock: Any) -> None:
    tokens = Tokens([Client("a", ("bc",)), Client("x", ("",))], clock=clock)

    for client_id, secret in (("ab", "c"), ("", "abc"), ("a", ""), ("x", "")):
        with pytest.raises(Unauthenticated):
            tokens.issue(client_id, secret)


def test_forged_tokens_are_refused(clock: Any) -> None:
    tokens = Tokens([CLIENT], clock=clock)
    real = tokens.issue(CLIENT.id, CLIENT.secrets[0])
    header = jwt.get_unverified_header(real)
    claims = jwt.decode(real, options={"verify_signature": False})
    key = b"k" * 32
    head, _, signature = real.split(".")
    forged_claims = base64.urlsafe_b64encode(b'{"iss":"milepost","exp":99999999999}').rstrip(b"=").decode()

    for token in (
        jwt.encode(claims, key, algorithm="HS256", headers=header),
        jwt.encode(claims, None, algorithm="none", headers={"kid": header["kid"]}),
        jwt.encode(claims, key * 2, algorithm="HS512", headers=header),
        f"{head}.{forged_claims}.{signature}",
        real + "A",
        "A" * 100_000,
    ):
        with pytest.raises(Unauthenticated, match="not one of ours"):
            tokens.check(token.encode())
    assert tokens.check(real.encode()) == ("bp-1",)


def test_what_is_remembered_of_tokens_is_bounded(clock: Any) -> None:
    tokens = Tokens([CLIENT], clock=clock)
    for _ in range(1_100):
        clock.pass_(SECOND)
        tokens.check(tokens.issue(CLIENT.id, CLIENT.secrets[0]).encode())

    assert len(tokens._seen) <= 1_024


@given(st.binary(max_size=300))
def test_any_bytes_as_a_token_are_refused_with_one_error(token: bytes) -> None:
    with pytest.raises(Unauthenticated):
        Tokens([CLIENT], clock=lambda: Instant(0)).check(token)
