"""The program finds its commands where they are, and starts without what it doesn't need."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from milepost.cli.main import MODULES, app

HEAVY = {
    "aiohttp",
    "alembic",
    "ariadne",
    "babel",
    "cel",
    "cryptography",
    "httpx",
    "jinja2",
    "litestar",
    "polars",
}
HEAVY |= {"sqlalchemy", "uvicorn", "pydantic_settings", "milepost.hub", "milepost.sandbox.program"}
NOBODY = "http://127.0.0.1:1"
PROGRAM = """
import json, sys
from milepost.cli.main import main
try:
    main()
except SystemExit:
    pass
print()
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_the_commands_that_it_is_asked_for(module: str) -> None:
    alone = typer.Typer()
    __import__(f"milepost.cli.{module}", fromlist=["register"]).register(alone)
    group: Any = typer.main.get_group(alone)
    assert set(group.commands) == set(MODULES[module])


def test_help_lists_every_command_in_their_order() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    places = [shown.index(f"│ {name} ") for names in MODULES.values() for name in names]
    assert places == sorted(places)


def test_a_command_that_is_not_there_is_named_with_the_nearest() -> None:
    ran = CliRunner().invoke(app, ["ordres"])
    assert ran.exit_code == 2
    assert "'orders'" in ran.output


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("--version", set()),
        ("--help", set()),
        ("serve --help", set()),
        (f"orders --url {NOBODY}", {"httpx"}),
        (f"trigger PACKAGE_DELIVERED --sandbox {NOBODY}", {"httpx"}),
        ("keys new", {"sqlalchemy", "cryptography"}),
        (
            f"doctor --url {NOBODY}",
            {"aiohttp", "babel", "cryptography", "httpx", "pydantic_settings", "sqlalchemy"},
        ),
    ],
)
def test_a_command_imports_what_it_needs_and_no_more(line: str, needed: set[str], tmp_path: Path) -> None:
    """A command is started by people who wait for it. Of what takes long to import it has what it works with."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *line.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = set(json.loads(ran.stdout.splitlines()[-1]))
    assert len(imported) > 50
    assert HEAVY & imported <= needed
