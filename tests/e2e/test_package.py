"""What would be published: built, checked, installed in an environment of its own, and used."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.e2e.dev_server import STOP_SECONDS, UNSET, without_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first tests build, and install everything anew.
pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "bin" / "uv"


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*UNSET, "PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(command, cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and the wheel that is built from it."""
    made = tmp_path_factory.mktemp("dist")
    done = run(UV, "build", "--python", sys.executable, "--out-dir", made, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [made] = dist.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    [made] = dist.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def copperplate(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that has the wheel, what it asks for, and nothing else."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    for command in (
        (UV, "venv", "--python", sys.executable, place),
        (UV, "pip", "install", "--python", place / "bin" / "python", f"copperplate[all] @ {wheel.as_uri()}"),
    ):
        done = run(*command, cwd=place.parent)
        assert done.returncode == 0, done.stderr
    return place / "bin" / "copperplate"


def test_an_index_would_take_both(wheel: Path, sdist: Path) -> None:
    twine = Path(sys.executable).with_name("twine")
    done = run(twine, "--no-color", "check", "--strict", wheel, sdist, cwd=wheel.parent)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_has_types_migrations_licence_and_nothing_of_ours(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [place] = [name for name in names if name.endswith("METADATA")]
        told = HeaderParser().parsestr(archive.read(place).decode())
    assert told["License-Expression"] == "MIT"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {"copperplate/py.typed", "copperplate/schema.json"} <= set(names)
    packed = {Path(name).name for name in names if name.startswith("copperplate/local/migrations/")}
    assert packed == {file.name for file in (ROOT / "supabase" / "migrations").iterdir()}
    assert {name.split("/")[0] for name in names} == {"copperplate", f"copperplate-{told['Version']}.dist-info"}


def test_the_sdist_has_what_a_clone_needs_and_nothing_that_was_installed_or_set(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "uv.lock", "Dockerfile", "vercel.json", "functions/app.py", "sql/setup.sql", "LICENSE"} <= names
    unwanted = {"node_modules", ".venv", ".env", "__pycache__", ".copperplate", ".git", ".next", "out"}
    assert not [name for name in names if unwanted & set(name.split("/"))]


def test_the_installed_command_explains_itself(copperplate: Path, tmp_path: Path) -> None:
    done = run(copperplate, "--help", cwd=tmp_path)
    assert (done.returncode, without_progress(done.stderr)) == (0, "")
    assert done.stdout.startswith("usage: copperplate")


@pytest.fixture
def url(copperplate: Path, folder: Path) -> Iterator[str]:
    """Where the installed `copperplate dev` shows a picture."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*UNSET, "PYTHON", "VIRTUAL_ENV"))}
    process = subprocess.Popen(
        [copperplate, "dev", "--port", "0", "--workers", "1", "--data-dir", folder / "data"],
        cwd=folder,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        told = process.stdout.readline().strip()
        assert told, process.stderr.read()
        yield told
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        process.stdout.close()
        process.stderr.close()


def test_the_installed_dev_serves_a_picture(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    assert (answer.status, answer.read(3)) == (200, b"\xff\xd8\xff")
    connection.close()
