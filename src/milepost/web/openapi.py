"""`/openapi.json`: the API described, from the handlers themselves.

The description is made once, when it is first asked for. Ids in paths are named as in the JSON (`{orderId}`).
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag

from milepost.web.authentication import PUBLIC

DESCRIPTION = (
    "What Milepost knows of Buy with Prime orders and their packages. Lists answer `{items, next}`, oldest "
    "first; errors are problem documents (RFC 9457) with a stable `code`."
)
_PAGE = re.compile(rb"Page_milepost\.[\w.]+\.(\w+?)_(?=\")")
"""The framework's name for the schema of a page of something."""

TAGS = {
    "Orders": "Orders with their deliveries and trackers, as they stand.",
    "Deliveries": "One delivery is one parcel of an order.",
    "Trackers": "One tracking number of one carrier.",
    "Captures": "Whether payment for a delivery may be collected, and whether it was.",
    "Notifications": "What shoppers are told and what is kept back; what they chose.",
    "Accounting": "On which day what shipped and arrived, as rows that are never changed.",
    "Exports": "Everything that is known, as files for analysts and accountants.",
    "Erasures": "Personal data that is taken out, and how far that is.",
    "Insights": "Numbers over many parcels, each with what it rests on, and the parcels behind it.",
    "Events": "What came in, as it came in.",
    "Subscribers": "Systems that are told, and what is sent to them.",
    "Search": "One box for ids, tracking numbers, email addresses and names.",
    "Queues": "What somebody should look at, and what is done about it.",
    "Operations": "What did not go by itself.",
    "Keys": "API keys.",
    "Users": "Who may sign in to the console, and what they did.",
    "Health": "For probes and scrapers.",
}


def describe(handlers: Sequence[HTTPRouteHandler], dependencies: dict[str, Provide], version: str) -> bytes:
    """The OpenAPI document of these handlers, as JSON."""
    config = OpenAPIConfig(
        title="Milepost",
        version=version,
        description=DESCRIPTION,
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, method, path: _camel(handler.handler_name),
        components=Components(security_schemes={"apiKey": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"apiKey": []}],
        tags=[Tag(name, description=text) for name, text in TAGS.items()],
        render_plugins=[JsonRenderPlugin()],
    )
    app = Litestar(list(handlers), dependencies=dependencies, openapi_config=config, logging_config=None)
    document = app.openapi_schema.to_schema()
    public = {handler.handler_name for handler in handlers if handler.opt.get("public")}
    names = {_camel(name) for name in public}
    document["paths"] = {_path(path): _item(item, names) for path, item in document["paths"].items()}
    return _PAGE.sub(rb"\1Page", msgspec.json.encode(document))


def _path(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: "{" + _camel(match[1]) + "}", path)


def _item(item: dict[str, Any], public: set[str]) -> dict[str, Any]:
    for operation in item.values():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                parameter["name"] = _camel(parameter["name"])
        bad_request = operation["responses"].get("400", {})
        if operation["operationId"] in public:
            operation["security"] = []
            if "application/json" in bad_request.get("content", {}):
                del operation["responses"]["400"]
    return item


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


def handler_of(describe_now: Callable[[], bytes]) -> HTTPRouteHandler:
    """The route that serves the document."""
    document = cache(describe_now)

    @get(
        "/openapi.json",
        opt=PUBLIC,
        include_in_schema=False,
        media_type="application/json",
        sync_to_thread=True,
    )
    def openapi() -> Response[bytes]:
        return Response(document(), media_type="application/json")

    return openapi
