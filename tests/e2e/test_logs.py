"""What a server logs about one of every kind of request; `log_watch` scans it, and the rest of the suite."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from copperplate.model import PictureRequest
from tests.e2e.dev_server import dev_server
from tests.support import log_watch
from tests.support.clusters import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT = "a%20very%20private%20zebra"
SECRET, TOKEN = "cron-secret-of-the-zebra", "metrics-token-of-the-zebra"
LINE = re.compile(
    r"copperplate\.requests method=[A-Z]+ status=\d{3} outcome=(hit|stale|coalesced|generated|failed|-)"
    r" tier=(memory|disk|redis|storage|provider|none|-) key=([0-9a-f]{12}|-) ms=\d+\.\d bytes=\d+"
    r" cost_micro_usd=(\d+|-) saved_micro_usd=(\d+|-)$"
)


@pytest.fixture(scope="module")
def said() -> Iterator[list[str]]:
    """The log of a server that was asked for everything there is."""
    with open_folder() as folder:
        with dev_server(folder / "dev", workers=1, CRON_SECRET=SECRET, COPPERPLATE_METRICS_TOKEN=TOKEN) as server:
            picture = f"/256x256.jpg?text={PROMPT}"
            assert [server.get(picture).status for _ in range(2)] == [200, 200]
            assert server.get(picture, method="HEAD").status == 200
            assert server.get(picture, method="POST").status == 405
            assert server.get(f"/9999x64.jpg?text={PROMPT}").status == 400
            assert server.get(f"/api/explain?width=64&height=64&format=jpg&text={PROMPT}").status == 200
            assert server.get(f"/nothing/{PROMPT}?text={PROMPT}").status == 404
            for given in (SECRET, "wrong-secret-of-the-zebra"):
                server.get("/api/cache/cleanup", method="POST", Authorization=f"Bearer {given}")
            for given in (TOKEN, "wrong-token-of-the-zebra"):
                server.get("/metrics", Authorization=f"Bearer {given}")
            assert server.get("/readyz").status == 200
        yield server.log.read_text().splitlines()


def test_a_picture_request_is_one_line_of_outcome_key_time_and_cost(said: list[str]) -> None:
    lines = [line for line in said if "copperplate.requests" in line]
    assert [found[1] for line in lines if (found := LINE.search(line))] == ["generated", "hit", "-", "-", "-"]
    assert len(lines) == 5


def test_no_line_holds_a_prompt_or_a_secret(said: list[str]) -> None:
    assert not [line for line in said if "zebra" in line]


def test_watch_finds_a_prompt_and_a_secret_in_any_line() -> None:
    log_watch.note("an escaped zebra")
    log_watch.read("2026 WARNING something about an escaped zebra\n2026 nothing")
    assert log_watch.leaks() == ["2026 WARNING something about an escaped zebra"]
    log_watch.lines.clear()


def test_watch_knows_every_prompt_that_comes_by(caplog: pytest.LogCaptureFixture) -> None:
    from copperplate.adapters.painter import MODEL
    from copperplate.model import PictureFormat
    from copperplate.recipes.image import image_request
    from copperplate.settings import Settings

    asked = image_request(prompt="a zebra in the log", width=64, height=64, format=PictureFormat.PNG, model=MODEL)
    assert isinstance(asked, PictureRequest)
    Settings.from_env({"CRON_SECRET": SECRET})
    assert {"a zebra in the log", SECRET} <= log_watch.private
