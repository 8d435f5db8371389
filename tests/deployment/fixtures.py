"""Fixtures: the deployment is built once a run, whichever worker needs it first."""

from __future__ import annotations

import fcntl
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from copperplate.testing import GENERATE
from scripts import npm
from tests.deployment.build import UV, Deployment, build, find_python
from tests.deployment.function import Function, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from copperplate.model import Entry
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase
    from tests.support.postgrest_server import PostgrestServer

    Start = Callable[..., AbstractContextManager[Function]]


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """What `vercel build` makes of this tree."""
    found = find_python()
    if found is None:
        pytest.skip("Vercel's runtime needs Python 3.12 or newer, on PATH or among pyenv's versions")
    if not UV.exists():
        pytest.skip("uv is not in .tools: make setup")
    try:
        commands = npm.install() / ".bin"
    except npm.NotInstallable as error:
        pytest.skip(f"no Vercel CLI: {error}")
    python, version = found
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = shared / "deployment"
    with (shared / "deployment.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (shared / "deployment.built").exists():
            made = build(root, commands=commands, python=python, version=version)
            made.unpack(shared / "task")
            (shared / "deployment.built").touch()
    return Deployment(root=root, python=python, version=version)


@pytest.fixture(scope="session")
def start(deployment: Deployment) -> Start:
    """Starts instances of the function: `with start(NAME="value") as function`."""
    return partial(running, deployment.root.parent / "task", deployment.python, deployment.function)


@pytest.fixture
def storage_state_of_project() -> StorageState:
    """What the project's Storage keeps."""
    from tests.standin.storage_state import StorageState

    return StorageState()


@pytest.fixture
def project(postgrest: PostgrestServer, storage_state_of_project: StorageState) -> Iterator[Supabase]:
    """A Supabase project: a real PostgREST over a migrated database, and the stand-in of Storage."""
    from tests.standin.storage import make_storage
    from tests.standin.supabase import Supabase

    with Supabase(postgrest.url, storage=make_storage(storage_state_of_project)) as running_project:
        yield running_project


@pytest.fixture
async def entry(project: Supabase) -> Entry:
    """A picture that was made over the project, asked for twice."""
    from copperplate.compose import open_services
    from copperplate.settings import Settings
    from tests.support.pictures import picture_request

    environment = {"SUPABASE_URL": project.url, "SUPABASE_SECRET_KEY": project.secret_key}
    async with open_services(Settings.from_env({**environment, "COPPERPLATE_PROVIDER": "painter"})) as services:
        for outcome in ("generated", "hit"):
            found = await services.renditions.read(picture_request(), GENERATE)
            body = found.body
            assert body is not None
            assert (found.outcome, len(body)) == (outcome, found.entry.size_bytes)
            services.request_meter.count(picture_request(), found.outcome, size_bytes=len(body), seconds=0.1)
        await services.request_meter.flush()
        return found.entry
