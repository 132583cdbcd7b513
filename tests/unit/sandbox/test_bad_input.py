"""Whatever a caller sends gets a documented answer: never a 500, never an InternalServerError.

Variables are drawn from the schema's own input types, then spoilt: wrong types, missing and unknown fields, unknown
ids, white space, texts no database likes. So they reach every resolver with every kind of nonsense.
"""

from functools import cache
from importlib import resources
from typing import Any

import httpx
import msgspec
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    build_schema,
    parse,
)
from graphql.language import OperationDefinitionNode
from graphql.utilities import type_from_ast
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.sandbox.asking import DOCUMENTED, Asking

from milepost.domain.event import CATALOGUE
from milepost.sandbox.graph import MOST_FIELDS
from milepost.sandbox.permissions import EVERY_SCOPE, SANDBOX_TARGET, Caller

DOCUMENTED_TYPES = {
    "AccessDeniedError": ("AccessDeniedException", 403),
    "ConflictError": ("ConflictException", 409),
    "ResourceNotFoundError": ("ResourceNotFoundException", 404),
    "ValidationError": ("ValidationException", 400),
}
CODES = {
    "AliasLimitExceeded",
    "AliasValueAlreadyExists",
    "ConflictingPackageStateInput",
    "DestinationNameAlreadyExists",
    "InvalidCarrierCode",
    "InvalidOrderIdentifier",
    "InvalidPackageDeliveryDetailStateTransition",
    "InvalidTrackingNumber",
    "MissingCancellationReason",
    "PackageInformationDetailIdNotFound",
    "PackageTrackerNotAvailableForUpdate",
    "PackageTrackerNotFound",
    "SubscriptionAlreadyExists",
    "UpdatePackageTrackerLimitExceeded",
}
SCHEMA = build_schema(resources.files("milepost.sandbox").joinpath("schema.graphql").read_text("utf-8"))
OPERATIONS = {
    node.name.value: node
    for node in parse(DOCUMENTED).definitions
    if isinstance(node, OperationDefinitionNode) and node.name is not None
}
MANY = settings(
    max_examples=250,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
texts = st.one_of(
    st.sampled_from(
        [
            *(t.name for t in CATALOGUE),
            " PACKAGE_DELIVERED",
            "PACKAGE_DELIVERED\n",
            "",
            " ",
            "\0",
            "ups",
            "https://hook.example/",
            "http://127.0.0.1/",
            "http://hook.example/",
            "123456789012",
            "us-east-1",
            "EXTERNAL_ID",
            "\ud7ff\U0010ffff",
            "x" * 5_000,
        ]
    ),
    st.text(max_size=12),
)


GOOD = {
    "orderId": ["ORDER ID"],
    "id": ["DELIVERY ID", "SUBSCRIPTION ID", "PROFILE ID", "REFUND ID", "ORDER ID"],
    "lineItemId": ["LINE ITEM ID"],
    "trackingNumber": ["NUMBER"],
    "number": ["NUMBER"],
    "carrierCode": ["CARRIER"],
    "carrier": ["CARRIER"],
    "eventType": [t.name for t in CATALOGUE],
    "url": ["https://hook.example/1", "https://hook.example/2", "http://127.0.0.1/"],
    "authEndpoint": ["https://hook.example/token"],
    "authProfileId": ["PROFILE ID"],
    "account": ["123456789012"],
    "region": ["us-east-1"],
    "name": ["orders", "parcels"],
    "aliasType": ["EXTERNAL_ID"],
    "aliasId": ["1", "2", "3"],
}
"""Good texts for fields of these names; words in capitals are replaced by what is there."""


@cache
def values_of(type: GraphQLInputType, name: str = "") -> st.SearchStrategy[Any]:
    """Values of an input type, most of them good, some of them anything."""
    if isinstance(type, GraphQLNonNull):
        return values_of(type.of_type, name)
    if isinstance(type, GraphQLList):
        return _spoilt(st.lists(values_of(type.of_type, name), min_size=1, max_size=3))
    if isinstance(type, GraphQLInputObjectType):
        fields = {n: values_of(field.type, n) for n, field in type.fields.items()}
        needed = {n: s for n, s in fields.items() if isinstance(type.fields[n].type, GraphQLNonNull)}
        others = {n: s for n, s in fields.items() if n not in needed}
        one = st.sampled_from(sorted(others)).flatmap(
            lambda chosen: st.fixed_dictionaries({**needed, chosen: others[chosen]})
        )
        some = st.fixed_dictionaries(needed, optional=others)
        return _spoilt(st.one_of(one, one, some) if others else some)
    if isinstance(type, GraphQLEnumType):
        return _spoilt(st.sampled_from(sorted(type.values)))
    if type.name in ("Decimal", "Int"):
        return _spoilt(st.sampled_from([1, 1, 1, 1, 2, 0, -1, 1.5, "1", "NaN", 1e300, -0.0, 1 << 40]))
    if type.name == "Boolean":
        return _spoilt(st.booleans())
    good = st.sampled_from(GOOD[name]) if name in GOOD else texts
    return _spoilt(st.integers(0, 9).flatmap(lambda n: texts if n == 0 else good))


def _spoilt(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 99).flatmap(lambda n: json_values if n == 99 else good)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An operation's name, and variables for it."""
    name = draw(st.sampled_from(sorted(OPERATIONS)))
    variables = {}
    for definition in OPERATIONS[name].variable_definitions:
        input_type = type_from_ast(SCHEMA, definition.type)
        if draw(st.integers(0, 19)):
            variables[definition.variable.name.value] = draw(
                values_of(input_type, definition.variable.name.value)
            )  # type: ignore[arg-type]
    return name, variables


def check(response: httpx.Response) -> dict[str, Any]:
    """The answer, once it has the documented shape and no error but documented ones."""
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert "data" in answer
    if "errors" not in answer:
        return answer
    assert answer["errors"]
    for error in answer["errors"]:
        assert set(error) == {"message", "locations", "path", "extensions"}
        assert isinstance(error["message"], str)
        assert error["message"]
        classification = error["extensions"]["classification"]
        known = DOCUMENTED_TYPES[classification["type"]]
        assert (classification["errorType"], classification["errorCode"]) == known
        assert set(classification) - {"code"} == {"type", "errorType", "errorCode"}
        assert classification.get("code") in {None, *CODES}
        for place in error["locations"]:
            assert set(place) == {"line", "column"}
    return answer


async def send(asking: Asking, body: bytes, **headers: str) -> httpx.Response:
    if not asking.token:
        await asking.log_in()
    given = {"authorization": f"Bearer {asking.token}", "x-api-target-id": "sandbox", **headers}
    return await asking._http.post("/graphql", content=body, headers=given)


class World:
    """Orders whose ids the drawn texts stand for, so that some requests find something."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._words: dict[str, str] = {}

    async def send(self, name: str, variables: dict[str, Any]) -> httpx.Response:
        if not self._words:
            self._words = await _words(self._asking)
        body = msgspec.json.encode({"query": DOCUMENTED, "operationName": name, "variables": variables})
        for word, meant in self._words.items():
            body = body.replace(f'"{word}"'.encode(), f'"{meant}"'.encode())
        return await send(self._asking, body)


async def _words(asking: Asking) -> dict[str, str]:
    """An order with a package on its way and a refund, a subscription and a profile: what each word stands for."""
    keeper, caller = asking.sandbox.keeper, Caller("sandbox", SANDBOX_TARGET, EVERY_SCOPE)
    (order_id,) = await keeper.start(1, None, 2)
    await keeper.trigger("PACKAGE_DELIVERY_CANCELLED", order_id=order_id)
    await keeper.trigger("PACKAGE_DELIVERY_IN_TRANSIT", order_id=order_id)
    world = await keeper.order(order_id, None)
    assert world is not None
    detail = next(d for d in world.order["packageInformation"]["details"] if d["state"] == "IN_TRANSIT")
    identifier = detail["packageTracker"]["packageTrackerIdentifier"]
    made = asking.sandbox.subscriptions
    destination = {"webhook": {"url": "https://hook.example/"}}
    basic = {"basicAuthConfig": {"username": "u", "password": "p"}}
    return {
        "ORDER ID": order_id,
        "DELIVERY ID": detail["id"],
        "LINE ITEM ID": detail["packageInformationDetailsFor"]["orderLineItems"][0]["lineItem"]["id"],
        "NUMBER": identifier["trackingNumber"],
        "CARRIER": identifier["carrierCode"],
        "REFUND ID": world.order["refunds"]["details"][0]["id"],
        "SUBSCRIPTION ID": await made.create(caller, "RETURN_STARTED", "2024-11-01", destination),
        "PROFILE ID": await made.create_profile(caller, None, basic),
    }


@pytest.fixture
def world(asking: Asking) -> World:
    return World(asking)


@MANY
@given(request=requests())
async def test_no_variables_make_an_operation_fail(world: World, request: tuple[str, dict[str, Any]]) -> None:
    check(await world.send(*request))


@MANY
@given(
    body=st.binary(max_size=200)
    | st.text(max_size=100).map(lambda t: t.encode())
    | json_values.map(msgspec.json.encode)
)
async def test_no_body_makes_graphql_fail(asking: Asking, body: bytes) -> None:
    answer = check(await send(asking, body))
    assert answer["data"] is None


@MANY
@given(query=st.text(max_size=60) | st.text('{}()[]:!$@#"\\ \nqueryordeid', max_size=80))
async def test_no_text_makes_a_query_fail(asking: Asking, query: str) -> None:
    check(await send(asking, msgspec.json.encode({"query": query})))


header_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@MANY
@given(
    headers=st.dictionaries(
        st.sampled_from(
            [
                "authorization",
                "x-api-target-id",
                "x-api-version",
                "x-omni-targetid",
                "x-omni-installationid",
                "x-api-access-key",
                "content-type",
            ]
        ),
        header_texts
        | st.sampled_from(["Bearer", "Bearer ", "Basic x", "sandbox", "2024-11-01", "2024-01-01"]),
    )
)
async def test_no_headers_make_graphql_fail(asking: Asking, headers: dict[str, str]) -> None:
    check(await send(asking, b'{"query": "{ __typename }"}', **headers))


@MANY
@given(
    form=st.dictionaries(
        st.sampled_from(["grant_type", "client_id", "client_secret", "scope"]),
        st.sampled_from(["client_credentials", "sandbox", "\0", ""]) | st.text(max_size=10),
    ).map(lambda fields: httpx.Request("POST", "http://x/", data=fields).content)
    | st.binary(max_size=100)
)
async def test_no_form_makes_the_token_endpoint_fail(asking: Asking, form: bytes) -> None:
    response = await asking._http.post("/token", content=form)
    answer = response.json()
    if response.status_code == 200:
        assert set(answer) == {"access_token", "token_type", "expires_in"}
    else:
        assert response.status_code in (400, 401, 429)
        assert set(answer) == {"error", "error_description"}


# ── Queries that would never end ───────────────────────────────────────────────────────────────────────────


def _round(times: int) -> str:
    """Line items have packages, which have line items."""
    way = ("lineItem", "packageInformation", "details", "packageInformationDetailsFor", "orderLineItems")
    fields = ["order(orderId: 1)", "lineItems", *(way[1:] + way[:1]) * times]
    return "{" + " {".join(fields) + " { id" + " }" * len(fields) + "}"


@pytest.mark.parametrize(
    "query",
    [
        _round(3),
        "{ order(orderId: 1) { " + " ".join(f"a{n}: id" for n in range(MOST_FIELDS)) + " } }",
        "{ order(orderId: 1) { ...f0 ...f0 } } "
        + " ".join(
            f"fragment f{n} on Order {{ "
            + " ".join(
                f"a{n}x{k}: packageInformation {{ summary {{ state }} }} ...f{n + 1}" for k in range(3)
            )
            + " }"
            for n in range(40)
        )
        + " fragment f40 on Order { id }",
    ],
)
async def test_a_query_that_asks_for_too_much_is_a_validation_error(asking: Asking, query: str) -> None:
    answer = check(await send(asking, msgspec.json.encode({"query": query})))
    assert answer["data"] is None
    (error,) = answer["errors"]
    assert "The query" in error["message"] or "tokens" in error["message"]
