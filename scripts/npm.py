"""What tests take from npm: pinned in tests/node, installed there, nowhere else, when first asked for."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "node"
MODULES = FOLDER / "node_modules"
MARK = MODULES / ".installed"


class NotInstallable(Exception):
    """The packages cannot be had on this machine; the message says why."""


def install() -> Path:
    """The folder `node_modules`, as the lock file says; raises `NotInstallable`."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstallable("npm is not installed")
    wanted = sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    with (FOLDER / "package.json").open() as lock:  # test processes run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not MARK.exists() or MARK.read_text() != wanted:
            print("setup: the locked npm packages of the tests into tests/node/", file=sys.stderr, flush=True)
            answer = subprocess.run([npm, "ci"], cwd=FOLDER, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise NotInstallable(f"npm ci failed: {' '.join(answer.stderr.split())[:300]}")
            MARK.write_text(wanted)
    return MODULES


if __name__ == "__main__":
    try:
        install()
    except NotInstallable as error:
        print(f"setup: {error}; tests that need npm will not run", file=sys.stderr)
