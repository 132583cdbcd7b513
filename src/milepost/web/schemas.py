"""`/v1/schemas`: the JSON Schemas of Milepost's own messages, for whoever reads them."""

from typing import Annotated, Any

from litestar import Response, get
from litestar.params import PathParameter

from milepost.domain.errors import NotFound
from milepost.domain.intent import VERSION
from milepost.domain.message_schema import DATA, schema_of
from milepost.web.documents import Document
from milepost.web.problems import problems


class SchemaItem(Document):
    """A type of message."""

    type: str
    version: str
    url: str
    """Where its schema is."""


class Schemas(Document):
    items: list[SchemaItem]
    next: str | None = None


@get("/v1/schemas", summary="List the types of messages", tags=["Subscribers"], responses=problems())
async def list_schemas() -> Schemas:
    """Every type of message that a subscriber of form `milepost` may get."""
    return Schemas([SchemaItem(name, VERSION, f"/v1/schemas/{name}") for name in DATA])


@get(
    "/v1/schemas/{type:str}",
    summary="Show the schema of a message",
    tags=["Subscribers"],
    responses=problems(404),
)
async def get_schema(
    type: Annotated[str, PathParameter(description="The type of the message.", max_length=64)],
) -> Response[dict[str, Any]]:
    """A JSON Schema (2020-12) of the whole message. Within a version fields are only added."""
    if type not in DATA:
        raise NotFound(f"There is no message of type {type!r}.")
    return Response(schema_of(type))


HANDLERS = [list_schemas, get_schema]
