"""A second run forgives what passes alone, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ONCE = """
import os
from pathlib import Path
import pytest

SEEDS = Path(__file__).with_name("seeds")

def fails(wanted):
    with SEEDS.open("a") as seeds:
        print(os.environ["MILEPOST_SEED"], file=seeds)
    mark = Path(__file__).with_name("mark")
    if not mark.exists():
        mark.touch()
        assert wanted == "the first words"

"""


def run(folder: Path, tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`tests.again` over a suite of its own."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:milepost -p no:asyncio\n")
    (folder / "test_small.py").write_text(ONCE + tests)
    env = {name: text for name, text in os.environ.items() if name != "MILEPOST_SEED"}
    return subprocess.run(
        [sys.executable, "-m", "tests.again", *arguments, "test_small.py"],
        cwd=folder,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_passes_alone_passes_and_is_named_at_the_end(tmp_path: Path) -> None:
    odd = '@pytest.mark.parametrize("text", ["a b::c [d"])\ndef test_odd(text): fails(text)\n'
    ran = run(tmp_path, odd + "def test_good(): pass\n", "-n", "2")
    assert ran.returncode == 0, ran.stdout
    *_, the_end = ran.stdout.split("FAILED AT FIRST, PASSED ALONE")
    assert "!!! test_small.py::test_odd[a b::c [d]" in the_end
    assert "the first words" in the_end
    assert "test_good" not in the_end
    assert "1 passed" in ran.stdout.split("A second time")[1]
    first, second = (tmp_path / "seeds").read_text().split()
    assert first == second


def test_what_fails_alone_too_fails_the_run(tmp_path: Path) -> None:
    ran = run(tmp_path, "def test_bad(): assert False\ndef test_once(): fails('')\n")
    assert ran.returncode == 1
    assert "FAILED AT FIRST" not in ran.stdout
    assert "1 failed, 1 passed" in ran.stdout


@pytest.mark.parametrize(
    "tests",
    [
        '@pytest.mark.parametrize("n", range(6))\ndef test_bad(n): assert n > 6\n',
        "import missing_module\n",
    ],
    ids=["six failures", "no import"],
)
def test_what_is_no_accident_gets_no_second_run(tmp_path: Path, tests: str) -> None:
    ran = run(tmp_path, tests)
    assert ran.returncode != 0
    assert "A second time" not in ran.stdout


def test_a_fixture_that_failed_is_set_up_again(tmp_path: Path) -> None:
    tests = "@pytest.fixture\ndef place(): fails('')\ndef test_there(place): pass\n"
    ran = run(tmp_path, tests)
    assert ran.returncode == 0, ran.stdout
    assert "!!! test_small.py::test_there" in ran.stdout
