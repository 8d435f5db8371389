"""A list of 1,000 prompts of which 400 exist is warmed, and the command killed once in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.harness.databases import cluster, query
from bench.harness.figures import Figure
from bench.harness.processes import COPPERPLATE, child_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness.figures import Run
    from tests.standin.server import Standin

AT_ONCE = 16
GENERATION_SECONDS = 2.0
LEASE_SECONDS = 5.0
SIDE = "256x256"
PATIENCE_SECONDS = 600.0
LOOK_SECONDS = 0.005
HOW = (
    f"`copperplate warm --limit {AT_ONCE} --dimensions {SIDE}` over Postgres and a folder; fal's stand-in takes "
    f"{GENERATION_SECONDS:.0f} s a picture; lease {LEASE_SECONDS:.0f} s."
)


def measure(run: Run) -> list[Figure]:
    """1,000 prompts of which 400 exist: calls and time of warming them, undisturbed, and killed once and run again."""
    listed, existing = run.pick(1_000, 100), run.pick(400, 40)
    missing = listed - existing
    floor = missing * GENERATION_SECONDS / AT_ONCE
    undisturbed = _Trial(run, "undisturbed", listed, existing).run(kill_after=None)
    killed = _Trial(run, "killed", listed, existing).run(kill_after=missing // 2)
    return [
        Figure(what="prompts", value=listed, unit="", how=HOW),
        Figure(what="prompts whose pictures exist", value=existing, unit="", how="Warmed before, with no delay."),
        Figure(what="calls", value=undisturbed["calls"], unit="", how="Counted by the stand-in.", exactly=missing),
        Figure(
            what="calls with a kill in the middle",
            value=killed["calls"],
            unit="",
            how=f"SIGKILL once {missing // 2} are made, while every submit is noted; then the same command again.",
            exactly=missing,
        ),
        Figure(
            what="pictures stored with a kill in the middle",
            value=killed["stored"],
            unit="",
            how="Of the whole list, by a dry run of it.",
            exactly=listed,
        ),
        Figure(what="time", value=undisturbed["seconds"], unit="s", how="Of the command, its start included."),
        Figure(
            what="time / the provider's floor",
            value=undisturbed["seconds"] / floor,
            unit="x",
            how=f"The floor is {missing} x {GENERATION_SECONDS:.0f} s / {AT_ONCE} = {floor:.1f} s.",
            at_most=1.5,
        ),
        Figure(
            what="time with a kill in the middle",
            value=killed["seconds"],
            unit="s",
            how="Of both commands: the second one starts, and waits for the leases that the first one left.",
        ),
        Figure(
            what="time of the same command once all exist",
            value=undisturbed["again_seconds"],
            unit="s",
            how="It looks, says that nothing is missing, and ends.",
        ),
    ]


class _Trial:
    """One database, one list, and a stand-in of fal that counts."""

    def __init__(self, run: Run, name: str, listed: int, existing: int) -> None:
        self._run = run
        self._folder = run.folder / name
        self._folder.mkdir()
        self._folder.chmod(0o755)
        self._all = self._write("all.txt", listed)
        self._some = self._write("some.txt", existing)
        self._existing = existing

    def run(self, *, kill_after: int | None) -> dict[str, float]:
        """Calls, stored pictures, and seconds."""
        # Here: it is of the tests, and its server belongs to those that need one.
        from tests.standin.server import serve

        with cluster(self._run) as started, serve() as standin:
            self._url = started.owner_url
            self._settings = {
                "DATABASE_URL": started.owner_url,
                "COPPERPLATE_DATA_DIR": str(self._folder / "data"),
                "COPPERPLATE_LEASE_SECONDS": str(LEASE_SECONDS),
                "COPPERPLATE_HEARTBEAT_SECONDS": "1",
                "FAL_KEY": "stand-in",
                "COPPERPLATE_FAL_QUEUE_URL": standin.url,
            }
            self._warm(self._some)
            standin.scenario_log.tell("*", f"slow={GENERATION_SECONDS}")
            before = _posts_of(standin)
            began = time.monotonic()
            if kill_after is not None:
                self._kill(standin, kill_after)
            said = self._warm(self._all)
            seconds = time.monotonic() - began
            again = time.monotonic()
            self._warm(self._all)
            again = time.monotonic() - again
            calls = _posts_of(standin) - before
            stored = self._warm(self._all, "--dry-run")["existing"]
            self._run.say(f"{self._folder.name}: {calls} calls, {said['made']} made at last, {seconds:.1f} s")
        return {"calls": calls, "stored": stored, "seconds": seconds, "again_seconds": again}

    def _kill(self, standin: Standin, after: int) -> None:
        with self._started(self._all) as process:
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while not self._is_quiet(standin, after):
                assert process.poll() is None, "it ended before it was killed"
                assert time.monotonic() < give_up_at, "it came to no half"
                time.sleep(LOOK_SECONDS)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _is_quiet(self, standin: Standin, after: int) -> bool:
        """Whether so many are made and every submit that was sent is noted: one whose answer is lost is sent again."""
        [(made, noted)] = query(
            self._url,
            "select count(*) filter (where status = 'completed'), "
            "count(*) filter (where status = 'generating' and phase in ('submitted', 'uploading')) "
            "from public.generation_status",
        )
        return bool(made >= self._existing + after and made + noted == _posts_of(standin))

    def _warm(self, file: Path, *arguments: str) -> dict[str, Any]:
        answer = subprocess.run(
            [*self._command(file), *arguments, "--json"],
            env=child_environment(self._settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr[-2000:]
        figures: dict[str, Any] = json.loads(answer.stdout)
        return figures

    @contextmanager
    def _started(self, file: Path) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            self._command(file),
            env=child_environment(self._settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _command(self, file: Path) -> list[str]:
        return [str(COPPERPLATE), "warm", str(file), "--limit", str(AT_ONCE), "--dimensions", SIDE]

    def _write(self, name: str, number: int) -> Path:
        file = self._folder / name
        file.write_text("".join(f"picture {each}\n" for each in range(number)))
        return file


def _posts_of(standin: Standin) -> int:
    return sum(standin.scenario_log.posts.values())
