"""The description: one for every route, whole, and true of what is served."""

from typing import Any

import pytest
from tests.web.world import World

from milepost.web.app import ROUTES


@pytest.fixture
async def document(world: World) -> dict[str, Any]:
    answer = await world.get("/openapi.json", None)
    assert answer.headers["content-type"].startswith("application/json")
    described: dict[str, Any] = answer.json()
    return described


def _references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


async def test_every_route_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"] == {**document["info"], "title": "Milepost", "version": "1.2.3"}
    paths = document["paths"]
    described = {(method.upper(), len(path.split("/"))) for path, item in paths.items() for method in item}
    served = {(str(m), len(path.split("/"))) for h in ROUTES for m in h.http_methods for path in h.paths}
    assert described == served
    assert sum(len(item) for item in document["paths"].values()) == len(ROUTES)
    assert "/v1/trackers/{carrierCode}/{trackingNumber}/explain" in document["paths"]


async def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    ids = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            at = (method, path)
            ids.add(operation["operationId"])
            assert operation["summary"], at
            assert operation["description"], at
            assert operation["tags"][0] in {tag["name"] for tag in document["tags"]}, at
            assert any(status.startswith("2") for status in operation["responses"]), at
            named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, at
            assert all(p.get("description") for p in operation.get("parameters", ())), at
            if operation.get("security") != []:
                assert "application/problem+json" in operation["responses"]["401"]["content"], at
    assert len(ids) == len(ROUTES)


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    assert "OrderDocumentPage" in schemas
    assert not [name for name in schemas if "." in name]


async def test_only_probes_are_open(document: dict[str, Any]) -> None:
    assert document["security"] == [{"apiKey": []}]
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    open_paths = {
        path
        for path, item in document["paths"].items()
        if any(operation.get("security") == [] for operation in item.values())
    }
    assert open_paths == {"/healthz", "/readyz", "/track", "/track/{token}", "/unsubscribe/{token}"}


async def test_no_page_of_the_description_loads_anything_from_elsewhere(world: World) -> None:
    for path in ("/schema", "/schema/swagger", "/schema/redoc", "/docs", "/redoc"):
        assert (await world.get(path)).status_code == 404


async def test_the_order_document_is_described_field_by_field(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["OrderDocument"]
    assert {"id", "businessProductId", "aliases", "state", "summary", "lineItems", "deliveries"} <= set(
        schema["required"]
    )
