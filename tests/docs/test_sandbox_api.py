"""docs/sandbox-api.md: its examples run beside a real sandbox, and its tables are the code's."""

import asyncio
import re
from importlib import resources
from pathlib import Path

from graphql import build_schema
from tests.unit.sandbox.asking import config
from tests.unit.sandbox.test_bad_input import CODES

from milepost.domain.event import KNOWN_API_VERSIONS
from milepost.sandbox import credentials, graph, order_input, package_updates
from milepost.sandbox.api_error import CLASSES
from milepost.sandbox.permissions import DEMANDED, PERMISSIONS
from milepost.sandbox.program import Sandbox
from milepost.sandbox.transitions import REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox-api.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column is so headed."""
    found = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    assert found, heading
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in found[1].splitlines()]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_permissions_is_the_codes() -> None:
    listed = {words(scope)[0]: names.split(", or ") for names, scope, _ in rows("permission")}
    assert listed == {p.scope: [p.name, *p.other_names] for p in PERMISSIONS}


def test_the_table_of_operations_is_the_schemas_and_says_what_each_demands() -> None:
    listed = {name: demanded for cell, demanded, _ in rows("operation") for name in words(cell)}
    assert set(listed) == set(DEMANDED)
    for name, demanded in listed.items():
        assert demanded.split(",")[0] == DEMANDED[name].name
    schema = build_schema(resources.files("milepost.sandbox").joinpath("schema.graphql").read_text("utf-8"))
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    assert set(listed) == {*schema.query_type.fields, *schema.mutation_type.fields}


def test_the_tables_of_errors_are_the_codes() -> None:
    listed = {}
    for name, classes, _ in rows("`type`"):
        listed[words(name)[0]] = words(classes)[0], int(classes.rpartition(", ")[2])
    assert listed == CLASSES
    assert {code for cell, _ in rows("`code`") for code in words(cell)} == CODES


def test_the_table_of_transitions_is_the_codes() -> None:
    listed = {
        (words(before)[0], words(after)[0]): frozenset(words(after)[1:])
        for before, after, _ in rows("a package that is")
    }
    assert listed == REASONS


def test_the_numbers_are_the_codes() -> None:
    for text in (
        f"{graph.MOST_TOKENS:,} tokens, select {graph.MOST_FIELDS:,} fields",
        f"go {graph.MOST_LEVELS} levels down",
        f"At most {order_input.MOST_ITEMS} line items",
        f"at most {order_input.MOST_ALIASES} aliases",
        f"takes {package_updates.MOST_MILESTONES} milestones",
        f"More than {credentials.REQUESTS} requests",
        f'"expires_in": {credentials.LIFETIME_S}',
    ):
        assert text in PAGE.replace("\n", " "), text
    (versions,) = [cell for name, cell in rows("header") if name == "`x-api-version`"]
    assert set(words(versions)) == KNOWN_API_VERSIONS


async def test_the_examples_run_in_their_order(tmp_path: Path) -> None:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(sandbox.run(stop, port.set_result))
    base = f"http://127.0.0.1:{await port}"
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\n" + "".join(blocks).replace("http://127.0.0.1:8481", base)
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, err = await shell.communicate()
    finally:
        stop.set()
        await running
        await sandbox.close()
    assert shell.returncode == 0, err.decode()
    printed = out.decode()
    assert '"errors"' not in printed
    for expected in ('"clientSecret"', "Order service", '"IN_TRANSIT"', '"CANCELLED"', '"my-handler"'):
        assert expected in printed
    assert '"totalCount": 1' in printed
