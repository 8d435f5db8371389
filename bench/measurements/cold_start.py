"""How long until a new instance of the deployment shows a picture that is already there?"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

from bench.harness.figures import Figure, Run, median_figure, ratios
from copperplate.local.bootstrap import bootstrap
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.migrations import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deployment.build import Deployment

AT_MOST_RATIO, AT_MOST_MB = 1.5, 150
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
    "same bytes from a file with one FastAPI route, in the same bundle. In turns; ratios are round by round."
)


def measure(run: Run) -> list[Figure]:
    """Spawn to first cached picture in Vercel's runtime, beside a bare FastAPI app; size of the bundle."""
    # The harness of the tests builds, starts and speaks to the deployment.
    from scripts import npm
    from tests.deployment.build import build, find_python
    from tests.standin.storage import make_storage
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase
    from tests.support.postgrest_server import PostgrestServer, find_binary

    found = find_python()
    if found is None:
        raise SystemExit("cold_start needs Python 3.12 or newer")
    run.say("building the deployment")
    python, version = found
    deployment = build(run.folder / "deployment", commands=npm.install() / ".bin", python=python, version=version)
    deployment.unpack(run.folder / "task")
    with Cluster.start(run.folder / "cluster", is_durable=False) as cluster:
        bootstrap(cluster.superuser_url, passwords=cluster.passwords)
        migrate(cluster.url(), announce=ignore)
        with (
            PostgrestServer(find_binary(), cluster.url(role="authenticator")) as postgrest,
            Supabase(postgrest.url, storage=make_storage(StorageState())) as project,
        ):
            environ = {
                "SUPABASE_URL": project.url,
                "SUPABASE_SECRET_KEY": project.secret_key,
                "COPPERPLATE_PROVIDER": "painter",
            }
            return _compare(run, deployment, environ)


def _compare(run: Run, deployment: Deployment, environ: dict[str, str]) -> list[Figure]:
    task, bare = run.folder / "task", run.folder / "bare"
    picture = _start(deployment, task, environ)[2]
    _make_bare(task, bare, picture)
    _start(deployment, bare, {})
    ours, theirs = [], []
    for number in range(run.pick(15, 3)):
        ours.append(_start(deployment, task, environ))
        theirs.append(_start(deployment, bare, {}))
        run.say(f"round {number + 1}: {ours[-1][0]:.2f} s, a bare app {theirs[-1][0]:.2f} s")
        assert ours[-1][2] == theirs[-1][2] == picture
    elapsed, used = [each[0] for each in ours], [each[1] for each in ours]
    bare_elapsed, bare_used = [each[0] for each in theirs], [each[1] for each in theirs]
    size = sum(file.stat().st_size for file in deployment.files.values()) / 1e6
    return [
        median_figure(
            ratios(elapsed, bare_elapsed), what="cold start, ratio", unit="ratio", how=HOW, at_most=AT_MOST_RATIO
        ),
        median_figure(ratios(used, bare_used), what="processor time of it, ratio", unit="ratio", how=HOW),
        median_figure(elapsed, what="cold start", unit="s", how=HOW),
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
