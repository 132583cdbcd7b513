"""The `milepost` program: its commands in the order a newcomer meets them, and how every one of them fails."""

import sys

import typer
from typer.core import TyperGroup

from milepost import __version__
from milepost.cli import (
    accounting,
    attempts,
    backup,
    bench,
    captures,
    database,
    doctor,
    erase,
    explanation,
    export,
    keys,
    listen,
    missing,
    notes,
    notifications,
    operate,
    queues,
    receive,
    retention,
    roads,
    sandbox,
    serve,
    show,
    subscribers,
    users,
)
from milepost.cli.client import errors
from milepost.domain.errors import MilepostError


class _InOrder(TyperGroup):
    """Lists commands in the order they were added, and turns named errors into one line and exit code 1."""

    def list_commands(self, ctx: object) -> list[str]:
        return list(self.commands)


app = typer.Typer(
    cls=_InOrder,
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


for module in (
    serve,
    receive,
    sandbox,
    listen,
    operate,
    show,
    explanation,
    captures,
    notifications,
    accounting,
    notes,
    queues,
    roads,
    subscribers,
    attempts,
    missing,
    export,
    retention,
    backup,
    keys,
    users,
    erase,
    database,
    doctor,
    bench,
):
    module.register(app)


def main() -> None:
    """The console script. Exit codes: 0 ok, 1 failed, 2 misused."""
    try:
        app()
    except MilepostError as e:
        errors.print(f"[bold red]milepost:[/] {e.detail} ({e.code})", soft_wrap=True)
        sys.exit(2 if e.code in ("misconfigured", "invalid_request") else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
