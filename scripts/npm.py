"""What comes from npm, for tests and for the example of Next.js: pinned, and installed in their folders when needed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "node"
MODULES = FOLDER / "node_modules"
NEXTJS = ROOT / "examples" / "nextjs"


class NotInstallable(Exception):
    """The packages cannot be had on this machine; the message says why."""


def install(folder: Path = FOLDER) -> Path:
    """The folder `node_modules` in `folder`, as the lock file there says; raises `NotInstallable`."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstallable("npm is not installed")
    modules = folder / "node_modules"
    mark = modules / ".installed"
    wanted = sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    with (folder / "package.json").open() as lock:  # test processes run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != wanted:
            place = folder.relative_to(ROOT)
            print(f"setup: the locked npm packages of the tests into {place}/", file=sys.stderr, flush=True)
            answer = subprocess.run([npm, "ci"], cwd=folder, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise NotInstallable(f"npm ci failed: {' '.join(answer.stderr.split())[:300]}")
            mark.write_text(wanted)
    return modules


if __name__ == "__main__":
    try:
        install()
        install(NEXTJS)
    except NotInstallable as error:
        print(f"setup: {error}; tests that need npm will not run", file=sys.stderr)
