"""The commands of pages, run as they stand against one server that paints."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.dev_server import DevServer, dev_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with dev_server(tmp_path_factory.mktemp("pages") / "dev", workers=1) as running:
        yield running


def run_page(server: DevServer, name: str, *, beginning: str = "TOKEN=") -> str:
    """What the first commands of a page print that begin with a token, or otherwise."""
    page = (ROOT / "docs" / name).read_text()
    block = re.search(rf"```sh\n({re.escape(beginning)}.*?)```", page, re.DOTALL)
    assert block is not None
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block[1].replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")],
        cwd=ROOT, env=server.environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return ran.stdout


def test_the_page_on_memoji_works_as_written(server: DevServer) -> None:
    printed = run_page(server, "memoji.md")
    assert '"cached":false' in printed
    assert '"credits":{"balance":5,"held":0,"available":5}}' in printed
    url = re.search(r'"url":"([^"]+)"', printed)
    assert url is not None
    assert httpx.get(url[1]).content.startswith(PNG)


def test_the_page_on_bodies_works_as_written(server: DevServer) -> None:
    printed = run_page(server, "asking.md", beginning="ask()")
    told, status = json.JSONDecoder().raw_decode(printed)
    assert (told["cached"], told["width"], told["height"], told["cost_usd"]) == (False, 640, 480, 0)
    picture = httpx.get(told["url"])
    assert (picture.headers["x-cache"], len(picture.content)) == ("HIT", told["size_bytes"])
    # On a fast machine the painter is done before the server looks.
    assert printed[status:].strip() in ("200", "202")


def test_the_page_on_processing_works_as_written(server: DevServer) -> None:
    printed = run_page(server, "processing.md")
    told = [json.loads(each) for each in re.findall(r"\{.*?\}(?=\{\"success|200 |\Z)", printed)]
    made, hit, known, looked = told
    assert [made["cached"], hit["cached"], hit["key"]] == [False, True, made["key"]]
    assert (known["upscaled"], known["bgRemoved"], known["urls"]) == (True, False, None)
    assert (looked["key"], looked["width"], looked["height"]) == (made["key"], 1536, 768)
    assert httpx.get(looked["url"]).content.startswith(PNG)
    assert printed.endswith("200 image/png\n")


def test_the_first_screen_processes_a_picture_once_by_two_names(server: DevServer) -> None:
    shown = run_page(server, "../README.md", beginning="for name in")
    assert shown == '"cached":false\n"cached":true\n'
    assert f"```\n{shown}```" in (ROOT / "README.md").read_text()


def test_the_page_on_batches_works_as_written(server: DevServer) -> None:
    looked, canceled = (
        json.loads(each) for each in re.findall(r"\{.*?\}(?=\{\"success|\Z)", run_page(server, "batches.md"))
    )
    assert (looked["total"], looked["next_after"]) == (4, 0)
    [fox] = looked["members"]
    assert (fox["title"], fox["kind"], fox["cached"]) == ("Reynard", "image", False)
    assert canceled["status"] == "canceled"
    assert 0 <= canceled["withdrawn"] + canceled["under_way"] <= 4
    # What was not withdrawn is made without anybody asking, by the server itself.
    batch = f"{server.url.partition('/1024')[0]}/api/batches/{looked['id']}"

    def is_made() -> bool:
        counts = httpx.get(batch).json()["counts"]
        return bool(counts["completed"] == 4 - canceled["withdrawn"])

    wait_until(is_made, seconds=20, what="the members that were under way")
