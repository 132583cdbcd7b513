"""The release after this one, with the steps of `next_release_steps`: run with a database's URL it migrates that, as
its `milepost migrate` would, and prints what it logs."""

import sys
from pathlib import Path

from milepost.sql import migrate, migrations

NEWEST = "9002"

if __name__ == "__main__":
    migrations._FOLDERS = (*migrations._FOLDERS, Path(__file__).with_name("next_release_steps"))
    migrations._NEWEST = NEWEST
    migrate(sys.argv[1])
