"""What tests need from npm, installed on first use into tests/node."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"
INSTALL_SECONDS = 540


def node_tools() -> Path:
    """The folder of the pinned tools' commands; the calling test does not run where they cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Node.js 20 or newer)")
    commands, lock = FOLDER / "node_modules" / ".bin", FOLDER / "package-lock.json"
    installed = FOLDER / "node_modules" / ".package-lock.json"
    with (FOLDER / ".install.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # the workers of one run share the folder
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            _install()
    return commands


def _install() -> None:
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"],
        cwd=FOLDER,
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"npm ci failed in tests/node: {done.stderr.strip().splitlines()[:1]}")
