"""The deployment as Vercel builds it, over a project of Supabase in this process."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.local.bootstrap import bootstrap
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness.figures import Run
    from tests.deployment.build import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A deployment laid out at `task`, what its instances are set to, and what their project was asked so far.

    `owner_url` is that of the database.
    """

    deployment: Deployment
    task: Path
    environ: dict[str, str]
    owner_url: str
    requests: list[str]


@contextlib.contextmanager
def deployed(run: Run) -> Iterator[Deployed]:
    """Build it, and run its project: a real PostgREST and the stand-in of Storage."""
    # The harness of the tests builds, starts and speaks to the deployment.
    from scripts import npm
    from tests.deployment.build import build, find_python
    from tests.standin.storage import make_storage
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase
    from tests.support.postgrest_server import PostgrestServer, find_binary

    found = find_python()
    if found is None:
        raise SystemExit("the deployment needs Python 3.12 or newer")
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
            yield Deployed(
                deployment=deployment,
                task=run.folder / "task",
                environ=environ,
                owner_url=cluster.owner_url,
                requests=project.requests,
            )
