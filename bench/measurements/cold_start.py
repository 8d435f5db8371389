"""How long until a new instance of the deployment shows a picture that is already there?"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

from bench.harness.deployments import deployed
from bench.harness.figures import Figure, Run, median_figure, ratios

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deployment.build import Deployment

AT_MOST_RATIO, AT_MOST_MB = 1.5, 150
WITHOUT_TIERS = {"COPPERPLATE_MEMORY_PICTURES": "0", "COPPERPLATE_DISK_CACHE_MB": "0"}
PICTURE = "/1024x1024.jpg?text=A%20beautiful%20sunset"
BARE = """
from pathlib import Path
from fastapi import FastAPI, Response

app = FastAPI()


@app.get("/1024x1024.jpg")
async def picture(text: str) -> Response:
    return Response(Path("picture.jpg").read_bytes(), media_type="image/jpeg")
"""
HOW = (
    "Built by Vercel's CLI with bytecode and started by Vercel's runtime: from the start of the process to the last "
    "byte of a picture that is cached, over a real PostgREST and the stand-in of Storage. The baseline answers the "
    "same bytes from a file with one FastAPI route, in the same bundle. Without tiers nothing is kept in memory or on "
    "disk. In turns; ratios are round by round."
)


def measure(run: Run) -> list[Figure]:
    """Spawn to first cached picture in Vercel's runtime, beside a bare FastAPI app, and without tiers; the bundle."""
    with deployed(run) as project:
        return _compare(run, project.deployment, project.task, project.environ)


def _compare(run: Run, deployment: Deployment, task: Path, environ: dict[str, str]) -> list[Figure]:
    bare, without = run.folder / "bare", {**environ, **WITHOUT_TIERS}
    picture = _start(deployment, task, environ)[2]
    _make_bare(task, bare, picture)
    _start(deployment, bare, {})
    ours, tierless, theirs = [], [], []
    for number in range(run.pick(15, 3)):
        ours.append(_start(deployment, task, environ))
        tierless.append(_start(deployment, task, without))
        theirs.append(_start(deployment, bare, {}))
        run.say(f"round {number + 1}: {ours[-1][0]:.2f} s, no tier {tierless[-1][0]:.2f} s, bare {theirs[-1][0]:.2f} s")
        assert ours[-1][2] == tierless[-1][2] == theirs[-1][2] == picture
    elapsed, used = [each[0] for each in ours], [each[1] for each in ours]
    bare_elapsed, bare_used = [each[0] for each in theirs], [each[1] for each in theirs]
    tierless_elapsed, tierless_used = [each[0] for each in tierless], [each[1] for each in tierless]
    size = sum(file.stat().st_size for file in deployment.files.values()) / 1e6
    return [
        median_figure(
            ratios(elapsed, bare_elapsed), what="cold start, ratio", unit="ratio", how=HOW, at_most=AT_MOST_RATIO
        ),
        median_figure(ratios(used, bare_used), what="processor time of it, ratio", unit="ratio", how=HOW),
        median_figure(
            ratios(tierless_elapsed, bare_elapsed), what="cold start without tiers, ratio", unit="ratio", how=HOW
        ),
        median_figure(ratios(elapsed, tierless_elapsed), what="cold start, to without tiers", unit="ratio", how=HOW),
        median_figure(
            ratios(used, tierless_used), what="processor time of it, to without tiers", unit="ratio", how=HOW
        ),
        median_figure(elapsed, what="cold start", unit="s", how=HOW),
        median_figure(tierless_elapsed, what="cold start without tiers", unit="s", how=HOW),
        median_figure(bare_elapsed, what="a bare FastAPI app", unit="s", how=HOW),
        Figure(what="size of the bundle", value=size, unit="MB", how=HOW, at_most=AT_MOST_MB),
    ]


def _start(deployment: Deployment, task: Path, environ: dict[str, str]) -> tuple[float, float, bytes]:
    """Seconds to the picture, processor seconds of the whole process, and the picture."""
    from tests.deployment.function import running

    before = _children()
    with running(task, deployment.python, deployment.function, **environ) as function:
        with function.calling(PICTURE) as (connection, _):
            response = connection.getresponse()
            body = response.read()
        elapsed = time.monotonic() - function.began
        assert response.status == 200, function.log
    return elapsed, _children() - before, body


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _make_bare(task: Path, bare: Path, picture: bytes) -> None:
    """The same bundle with another entry."""
    bare.mkdir()
    for entry in task.iterdir():
        if entry.name != "functions":
            (bare / entry.name).symlink_to(entry)
    (bare / "functions").mkdir()
    (bare / "functions" / "app.py").write_text(BARE)
    (bare / "picture.jpg").write_bytes(picture)
