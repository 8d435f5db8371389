"""Moments in the life of `copperplate dev`, scripted from inside its processes by a `sitecustomize` of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# An event of Python's audit hooks and a piece of what it tells, in the supervisor or in a worker.
SCRIPT = """
import os, signal, sys, threading, time

role = "worker" if any("spawn_main" in each for each in sys.orig_argv) else "supervisor"
wanted_role, wanted_event, wanted_text = os.environ["TEST_MOMENT"].split(":")
has_come = []

def interrupt():
    # Ctrl-C of an impatient person: the terminal sends it to every process of the group.
    for _ in range(2):
        os.killpg(os.getpgrp(), signal.SIGINT)
        time.sleep(0.05)

def watch(event, arguments):
    if has_come or event != wanted_event or not any(wanted_text in str(each) for each in arguments[:2]):
        return
    has_come.append(event)
    if os.environ["TEST_ACT"] == "interrupt":
        threading.Thread(target=interrupt, daemon=True).start()
        time.sleep(0.01)
    while os.environ["TEST_ACT"] == "wait" and not os.path.exists(os.environ["TEST_GATE"]):
        time.sleep(0.05)

if role == wanted_role:
    sys.addaudithook(watch)
"""


def scripted(folder: Path, moment: str, act: str) -> dict[str, str]:
    """Variables for a server that does `act` at `moment`, role:event:text.

    `interrupt` is Ctrl-C twice; `wait` stands still until the file `gate` in `folder` is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(SCRIPT)
    gate = str(folder / "gate")
    return {"PYTHONPATH": str(folder), "TEST_MOMENT": moment, "TEST_ACT": act, "TEST_GATE": gate}
