"""Runs pytest, and the few tests that failed once more, alone: `python -m tests.again ARGUMENTS` (of pytest).

A busy machine can break a test that waits for something. What fails alone, with the same seeds, fails the run; what
passes then is named loudly at the end, with what it failed by, and is to be mended all the same. Why, and why not in
the long proof, is decision 21.
"""

import os
import random
import subprocess
import sys

import pytest

MOST = 5
"""How many may have failed. More are no accident."""


class Failures:
    """A plugin of pytest that notes which tests failed, each with what it said first."""

    def __init__(self) -> None:
        self.of_tests: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.of_tests.setdefault(report.nodeid, report.longreprtext)


def main(arguments: list[str]) -> int:
    """pytest's exit code: of the second run where there was one."""
    # Processes that run the tests inherit it, in both runs. Hypothesis has a database of what failed, in .hypothesis.
    seed = os.environ.setdefault("MILEPOST_SEED", str(random.SystemRandom().randrange(1, 10**6)))
    failures = Failures()
    code = int(pytest.main(arguments, plugins=[failures]))
    failed = failures.of_tests
    if code != pytest.ExitCode.TESTS_FAILED or not 0 < len(failed) <= MOST:
        return code
    print(f"\n{len(failed)} failed. A second time, alone, by MILEPOST_SEED={seed}:\n", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "-v", *failed], check=False).returncode
    if code == pytest.ExitCode.OK:
        print(f"\n{' FAILED AT FIRST, PASSED ALONE ':!^100}")
        for name, said in failed.items():
            print(f"\n!!! {name}\n{said}")
        print(f"\n{' THE RUN PASSES, AND THESE ARE TO BE MENDED ':!^100}")
        print("\n".join(f"!!! {name}" for name in failed), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
