"""`/assets/{hash}/{name}`: style sheets, scripts, icons and fonts, each at an address that has its content's hash.

So a browser keeps them for a year, and never mixes an old one with a new page. Ours are in `static/`, those of
libraries in `static/built/`, where `make run` puts them (docs/decisions/0019-console.md). Without those, pages
are plainer and work all the same.
"""

import hashlib
import re
from functools import cache
from importlib import resources
from typing import Annotated, Final

import structlog
from litestar import Response, get
from litestar.params import PathParameter

from milepost.domain.errors import NotFound
from milepost.web.authentication import PUBLIC

TYPES: Final = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_FOLDERS: Final = ("static", "static/built")
_LINK: Final = re.compile(rb"asset:([\w.-]+)")
"""How a style sheet of ours names another asset."""

log = structlog.get_logger()


@cache
def asset(name: str) -> str:
    """The address of an asset by its file's name; of one that was never built, an address where nothing is."""
    try:
        return f"/assets/{_hash(_read(name))}/{name}"
    except NotFound:
        log.warning("assets_missing", name=name, action="run `make run` once, which builds what pages load")
        return f"/assets/missing/{name}"


@cache
def _read(name: str) -> bytes:
    root = resources.files("milepost.web.console")
    for folder in _FOLDERS:
        file = root.joinpath(folder, name)
        if "/" not in name and file.is_file():
            content = file.read_bytes()
            return _LINK.sub(_address, content) if name.endswith(".css") else content
    raise NotFound(f"There is no asset {name!r}.")


def _address(link: re.Match[bytes]) -> bytes:
    return asset(link[1].decode()).encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@get("/assets/{hash:str}/{name:str}", opt=PUBLIC, include_in_schema=False)
async def get_asset(
    hash: Annotated[str, PathParameter(max_length=64)], name: Annotated[str, PathParameter(max_length=128)]
) -> Response[bytes]:
    """The file, for a year; one of another version is not there."""
    kind = TYPES.get(name.rpartition(".")[2])
    content = _read(name) if kind else b""
    if kind is None or _hash(content) != hash:
        raise NotFound("There is no such asset.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, media_type=kind, headers=headers)


HANDLERS = [get_asset]
