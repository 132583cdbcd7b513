"""`make bench`: every workload beside its floor and its peers, in one run. Prints ratios and medians.

Exit code 1 when a bar is missed, so that a script can tell; numbers of one run on a shared machine are noisy, which
is why each workload is measured in interleaved rounds and compared within them.
"""

import argparse
import platform
import sys
import warnings

import psutil
from tests.benchmarks import (
    exporting,
    folding,
    ingest,
    pages,
    parsing,
    publishing,
    receiving,
    searching,
    telling,
)
from tests.benchmarks.report import Table, console, show, show_bars

warnings.filterwarnings("ignore", category=UserWarning)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of load a server and round (3)")
    names = [
        "ingest",
        "parsing",
        "folding",
        "searching",
        "publishing",
        "receiving",
        "telling",
        "exporting",
        "pages",
    ]
    parser.add_argument("--only", choices=names, action="append")
    arguments = parser.parse_args()
    memory = psutil.virtual_memory().total / 2**30
    console.print(f"Python {platform.python_version()}, {psutil.cpu_count()} CPUs, {memory:.0f} GiB\n")
    workloads = {
        "ingest": lambda: ingest.run(arguments.rounds, arguments.seconds),
        "parsing": lambda: parsing.run(arguments.rounds),
        "folding": lambda: folding.run(arguments.rounds),
        "searching": searching.run,
        "publishing": lambda: publishing.run(arguments.rounds, arguments.seconds),
        "receiving": lambda: receiving.run(arguments.rounds),
        "telling": lambda: telling.run(arguments.rounds),
        "exporting": exporting.run,
        "pages": pages.run,
    }
    tables: list[Table] = []
    for name, workload in workloads.items():
        if not arguments.only or name in arguments.only:
            tables.append(workload())
            show(tables[-1])
    return 0 if show_bars(tables) else 1


if __name__ == "__main__":
    sys.exit(main())
