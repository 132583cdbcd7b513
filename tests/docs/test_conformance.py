"""docs/conformance.md names tests that exist, leaves no row without a proof, and covers every seed field by field."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"
SEEDS = {"000": "milestone", "001": "in_transit", "002": "delivered"}


class Row(NamedTuple):
    seeds: tuple[str, ...]
    text: str
    proof: str


def rows() -> list[Row]:
    found: list[Row] = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[0] != "seed" and not set(cells[0]) <= {"-"}:
            assert len(cells) == 3, f"not three columns: {line}"
            found.append(Row(tuple(cells[0].split()), cells[1], cells[2]))
    return found


ROWS = rows()
NAMED = sorted({name for row in ROWS for name in re.findall(r"`(tests/[^`]+)`", row.proof)})


@cache
def functions(path: Path) -> frozenset[str]:
    """Names of the test functions in a file, those in classes too."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(n.name for n in nodes if isinstance(n, kinds) and n.name.startswith("test_"))


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert (ROOT / path).is_file(), f"there is no {path}"
    assert function in functions(ROOT / path), f"{path} has no {function}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text[:60])
def test_a_row_is_about_a_seed_and_has_a_proof(row: Row) -> None:
    assert row.seeds
    assert set(row.seeds) <= set(SEEDS)
    parts = row.proof.split(", ")
    for part in parts:
        assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", part), part
    assert len(parts) == len(set(parts))


def test_no_row_stands_twice() -> None:
    seen = [(seed, row.text, heading) for heading, row in _under_headings() for seed in row.seeds]
    assert sorted({entry for entry in seen if seen.count(entry) > 1}) == []


def _under_headings() -> Iterator[tuple[str, Row]]:
    heading, left = "", iter(ROWS)
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line
        elif re.match(r"\| \d{3}", line):
            yield heading, next(left)


@pytest.mark.parametrize("heading", ["for", "subscribing", "documents", "EventBridge", "webhook", "Handling"])
@pytest.mark.parametrize("seed", sorted(SEEDS))
def test_every_seed_is_covered_in_every_part(seed: str, heading: str) -> None:
    assert any(heading in title and seed in row.seeds for title, row in _under_headings())


@pytest.mark.parametrize("seed", sorted(SEEDS))
def test_every_field_of_the_examples_has_its_row(seed: str) -> None:
    """In the tables of the envelope, of the event, and (where the example has any) of `data`."""
    example = msgspec.json.decode((ROOT / "tests" / "seeds" / f"{SEEDS[seed]}.eventbridge.json").read_bytes())
    wanted = {
        "EventBridge document": set(example),
        "Fields of the event": set(example["detail"]),
        "The documents": _keys(example["detail"]["data"]),
    }
    for part, keys in wanted.items():
        texts = [row.text for title, row in _under_headings() if part in title and seed in row.seeds]
        named = {name for text in texts for name in re.findall(r"`([\w-]+)`", text)}
        assert keys <= named, f"{seed}, {part}: {sorted(keys - named)} has no row"


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set()
