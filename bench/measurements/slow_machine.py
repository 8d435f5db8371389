"""What becomes of a server that gets a quarter of a core, or none at all for a while?"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness.figures import Figure, Run
from bench.harness.processes import COPPERPLATE, Server, family, said_by, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.dev_server import Answer

PERIOD_MICROSECONDS = 100_000
# The controller for processor time: version 1 in a hierarchy of its own, version 2 in the only one.
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
STILL_SECONDS = 15.0
CALLERS = 20
KILLED = re.compile(r"is gone|ended before it was ready|died")
HOW_SLOW = (
    "`copperplate dev --workers 2` in an empty folder, its Postgres included, in a cpu group of a quarter of a core, "
    "without bytecode. Until the URL is printed; a kill is a line of the log that says so."
)
HOW_STILL = (
    f"OpenAI's stand-in takes 2 s for a picture; every worker is stopped (SIGSTOP) for {STILL_SECONDS:.0f} s while "
    f"{CALLERS} callers wait for one, and another keeps asking for a kept picture; lease 20 s."
)


def measure(run: Run) -> list[Figure]:
    """A start with a quarter of a core and no bytecode; workers that stand still for 15 s under load."""
    return [*_start_slowly(run), *_stand_still(run)]


def _start_slowly(run: Run) -> list[Figure]:
    folder = run.folder / "slow"
    folder.mkdir()
    with quarter_of_a_core() as group:
        join = f'echo $$ > "{group}/cgroup.procs" && exec "$0" "$@"'
        command = ["/bin/sh", "-c", join, str(COPPERPLATE), "dev", "--port", "0", "--workers", "2"]
        no_bytecode = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(folder / "no-bytecode")}
        began = time.monotonic()
        with started(command, {"COPPERPLATE_DATA_DIR": str(folder), **no_bytecode}, folder) as process:
            said_by(process, folder, r"^(http://[^/]+)/", seconds=300)
            seconds = time.monotonic() - began
    said = (folder / "server.log").read_text()
    return [
        Figure(what="a quarter of a core: kills", value=len(KILLED.findall(said)), unit="", how=HOW_SLOW, exactly=0),
        Figure(what="a quarter of a core: until the URL is printed", value=seconds, unit="s", how=HOW_SLOW),
    ]


@contextlib.contextmanager
def quarter_of_a_core() -> Iterator[Path]:
    """A cpu group of its own; fails where groups cannot be made."""
    is_v1 = (V1 / "cpu.cfs_quota_us").exists()
    group = (V1 if is_v1 else V2) / f"copperplate-bench-{os.getpid()}"
    group.mkdir()
    try:
        if is_v1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(PERIOD_MICROSECONDS // 4))
        else:
            (group / "cpu.max").write_text(f"{PERIOD_MICROSECONDS // 4} {PERIOD_MICROSECONDS}")
        yield group
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


def _stand_still(run: Run) -> list[Figure]:
    from tests.e2e.dev_server import ask
    from tests.standin.server import serve

    answered, lost, submits = 0, 0, []
    with serve() as standin:
        standin.scenario_log.tell("*", "slow=2")
        folder = run.folder / "still"
        settings = {
            "COPPERPLATE_DATA_DIR": str(folder),
            "COPPERPLATE_PROVIDER": "openai",
            "OPENAI_API_KEY": "stand-in",
            "OPENAI_BASE_URL": standin.openai_url,
        }
        with started([str(COPPERPLATE), "dev", "--port", "0", "--workers", "2"], settings, folder) as process:
            server = Server(address=said_by(process, folder, r"^(http://[^/]+)/"), pid=process.pid)
            get = partial(ask, int(server.address.rpartition(":")[2]), timeout=90)
            assert get("/1024x1024.jpg?text=kept").status == 200
            for number in range(run.pick(2, 1)):
                text = f"stopped {number}"
                with ThreadPoolExecutor(CALLERS + 1) as pool:
                    asked = [pool.submit(get, f"/1024x1024.jpg?text=stopped%20{number}") for _ in range(CALLERS)]
                    while not standin.scenario_log.posts[text]:
                        time.sleep(0.05)
                    hit = pool.submit(_still, server, get)
                    statuses = [each.result().status for each in asked]
                answered += statuses.count(200)
                lost += len(statuses) - statuses.count(200) + hit.result()
                submits.append(standin.scenario_log.posts[text])
                run.say(f"stopped for {STILL_SECONDS:.0f} s: {statuses.count(200)} answered, {submits[-1]} submits")
            replaced = len(KILLED.findall((folder / "server.log").read_text()))
    return [
        Figure(what="stopped for 15 s: callers answered", value=answered, unit="", how=HOW_STILL),
        Figure(what="stopped for 15 s: callers lost", value=lost, unit="", how=HOW_STILL, exactly=0),
        Figure(what="stopped for 15 s: workers replaced", value=replaced, unit="", how=HOW_STILL, exactly=0),
        Figure(
            what="stopped for 15 s: most submits of one picture",
            value=max(submits),
            unit="",
            how="Read from the stand-in's own book.",
            exactly=1,
        ),
    ]


def _still(server: Server, get: Callable[..., Answer]) -> int:
    """Stop every worker for a while; answers how many of the hits asked meanwhile were lost."""
    workers = [pid for pid in family(server.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(get, "/1024x1024.jpg?text=kept") for _ in range(5)]
        time.sleep(STILL_SECONDS)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        return sum(each.result().status != 200 for each in asked)
