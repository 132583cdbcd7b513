"""Runs each fuzzer: a short smoke with every test run, and for as long as it is given in the long proof."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FUZZERS = sorted(path.name for path in HERE.glob("fuzz_*.py"))
SECONDS = int(os.environ.get("MILEPOST_FUZZ_SECONDS", "30"))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no build for this Python"
)


def fuzz(name: str, tmp_path: Path, *options: str, timeout: float) -> None:
    """Run a fuzzer to its end; what it found (the input and the traceback) is the failure."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    command = [sys.executable, str(HERE / name), "-verbosity=0", f"-artifact_prefix={tmp_path}/", *options]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"


@pytest.mark.parametrize("name", FUZZERS)
def test_smoke(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, "-runs=20000", "-seed=1", timeout=100)


@pytest.mark.proof
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", FUZZERS)
def test_long(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, f"-max_total_time={SECONDS}", timeout=SECONDS + 100)


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_verifier_bears_a_million_inputs(tmp_path: Path) -> None:
    """However long that takes. Each run is four inputs at least."""
    fuzz("fuzz_webhook_signature.py", tmp_path, "-runs=250000", timeout=850)
