"""Work in a process of its own, of which the memory can be told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CHILD = """
import asyncio, json, sys
sys.path.insert(0, {root!r})
from {module} import {work}
print(json.dumps(asyncio.run({work}({arguments}))))
"""


def answer_of(module: str, work: str, *arguments: object) -> Any:
    """What a coroutine of a module answers in a process of its own."""
    script = CHILD.format(root=str(ROOT), module=module, work=work, arguments=", ".join(map(repr, arguments)))
    # Threads reserve nothing beforehand, and what is given back is gone at once.
    environ = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.returncode == 0, answer.stderr[-2_000:]
    return json.loads(answer.stdout)


def peak_bytes() -> int:
    """Most memory this process ever had at once. Not `ru_maxrss`, which a child inherits from who started it."""
    return _status_bytes("VmHWM")


def used_bytes() -> int:
    """The memory that this process has now."""
    return _status_bytes("VmRSS")


def forget_peak() -> None:
    """Let the peak begin anew at what is used now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status_bytes(name: str) -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024
