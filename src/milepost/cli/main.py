"""The `milepost` program: its commands in the order a newcomer meets them, and how every one of them fails.

A command's module is imported when that command is called, and all of them when `--help` lists them.
"""

import gc
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final

import typer
import typer.main
from typer.core import TyperGroup

from milepost import __version__
from milepost.cli.client import errors
from milepost.domain.errors import MilepostError

MODULES: Final = {
    "serve": ("serve", "demo"),
    "receive": ("receive",),
    "sandbox": ("sandbox",),
    "listen": ("listen",),
    "operate": ("trigger", "quarantine"),
    "show": ("tail", "orders", "track"),
    "explanation": ("explain",),
    "captures": ("captures",),
    "notifications": ("notifications",),
    "accounting": ("accounting",),
    "notes": ("notes",),
    "queues": ("queues",),
    "roads": ("roads",),
    "subscribers": ("subscribers",),
    "attempts": ("attempts", "replay"),
    "missing": ("missing",),
    "export": ("export",),
    "retention": ("retention",),
    "backup": ("backup", "restore"),
    "keys": ("keys",),
    "users": ("users",),
    "erase": ("erase",),
    "database": ("migrate", "rebuild"),
    "doctor": ("doctor",),
    "bench": ("bench",),
}
"""Modules of this package, each with the commands that its `register` adds."""


@cache
def _loaded(module: str) -> Mapping[str, Any]:
    """The commands of a module, by name."""
    app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    import_module(f"milepost.cli.{module}").register(app)
    return typer.main.get_group(app).commands


class _Commands(Mapping[str, Any]):
    """Every command by name; its module is imported when it is asked for."""

    _module_of: Final = {name: module for module, names in MODULES.items() for name in names}

    def __getitem__(self, name: str) -> Any:
        return _loaded(self._module_of[name])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._module_of)

    def __len__(self) -> int:
        return len(self._module_of)


class _Program(TyperGroup):
    """Finds commands where they are, and lists them in their order."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]  # nobody adds to them

    def list_commands(self, ctx: object) -> list[str]:
        return list(self.commands)


app = typer.Typer(
    cls=_Program,
    name="milepost",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Buy with Prime package events: kept, counted once, explained.\n\n"
    "Commands speak to a running hub by HTTP (MILEPOST_URL, MILEPOST_API_KEY), except migrate, rebuild, "
    "keys, backup, restore, receive and doctor, which open the database.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"milepost {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """Options of the program itself."""


def main() -> None:
    """The console script. Exit codes: 0 ok, 1 failed, 2 misused."""
    # Little of what is made at the start becomes garbage; looking for it at Python's pace takes a sixth of that time.
    gc.set_threshold(100_000, 20, 20)
    try:
        app()
    except MilepostError as e:
        errors.print(f"[bold red]milepost:[/] {e.detail} ({e.code})", soft_wrap=True)
        sys.exit(2 if e.code in ("misconfigured", "invalid_request") else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
