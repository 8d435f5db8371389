"""Purges, and the CDN that has to forget too (a STAND-IN of Vercel's API over a real socket)."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.vercel_cdn import VercelCdn
from copperplate.compose import open_cdns
from copperplate.errors import CdnUnavailable, Misconfigured
from copperplate.model import Condition, Outcome
from copperplate.operations import purge as purging
from copperplate.operations.purge import purge
from copperplate.recipes.objects import tag_of
from copperplate.settings import Settings
from copperplate.testing import GENERATE
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOKEN = "a token of Vercel's"


class VercelApi:
    """STAND-IN: takes purges as Vercel's API documents them, refuses a wrong token, counts."""

    def __init__(self) -> None:
        self.purges: list[dict[str, Any]] = []
        self.status = 200
        self.url = ""


@pytest.fixture
def api() -> Iterator[VercelApi]:
    standin = VercelApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = standin.status if self.headers["authorization"] == f"Bearer {TOKEN}" else 403
            if not 1 <= len(body["tags"]) <= 16 or not parse_qs(asked.query).get("projectIdOrName"):
                status = 400
            if status == 200:
                standin.purges.append({"path": asked.path, **parse_qs(asked.query), **body})
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler) as url:
        standin.url = url
        yield standin


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def cdn_of(api: VercelApi, token: str = TOKEN) -> VercelCdn:
    return VercelCdn(api.url, token=token, project_id="prj_1", team_id="team_1")


async def filled(count: int) -> MemoryServices:
    services = memory_services(clock=FakeClock())
    for number in range(count):
        await services.renditions.read(picture_request(f"wrong {number}"), GENERATE)
    return services


async def test_purge_reaches_ledger_and_cdn_and_the_picture_is_made_anew(api: VercelApi) -> None:
    services = await filled(2)
    key = picture_request("wrong 0").rendition_key
    async with cdn_of(api) as cdn:
        counts = await purge(services.ledger, Condition(key=key), is_dry_run=False, cdns=[cdn])
    assert (counts["generations"], counts["images"]) == (1, 2)  # the WebP beside it
    assert api.purges == [
        {
            "path": "/v1/edge-cache/dangerously-delete-by-tags",
            "projectIdOrName": ["prj_1"],
            "teamId": ["team_1"],
            "tags": [tag_of(picture_request("wrong 0").generation_key)],
            "target": "production",
        }
    ]
    assert (await services.renditions.read(picture_request("wrong 0"), GENERATE)).outcome is Outcome.GENERATED
    assert (await services.renditions.read(picture_request("wrong 1"), GENERATE)).outcome is Outcome.HIT


async def test_purge_of_several_pictures_drops_each_of_them_from_the_cdn(api: VercelApi) -> None:
    keys = [f"{number:064x}" for number in range(16)]  # as many as one call takes
    async with cdn_of(api) as cdn:
        await cdn.forget(keys[:2], [])
        await cdn.forget(keys, [])
        await cdn.forget([*keys, "f" * 64], [])
    tags = [tag_of(key) for key in keys]
    assert [asked["tags"] for asked in api.purges] == [tags[:2], tags, ["copperplate"]]


async def test_dry_run_counts_and_changes_nothing_anywhere(api: VercelApi) -> None:
    services = await filled(2)
    condition = Condition(model=picture_request().model)
    async with cdn_of(api) as cdn:
        counted = await purge(services.ledger, condition, is_dry_run=True, cdns=[cdn])
    assert api.purges == []
    assert (await services.renditions.read(picture_request("wrong 0"), GENERATE)).outcome is Outcome.HIT
    assert await purge(services.ledger, condition, is_dry_run=False) == counted


async def test_large_purge_goes_in_steps_and_drops_everything_from_the_cdn_in_one_call(
    api: VercelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "ROWS", 7)
    services = await filled(17)
    async with cdn_of(api) as cdn:
        counts = await purge(services.ledger, Condition(model=picture_request().model), is_dry_run=False, cdns=[cdn])
    assert counts["generations"] == 17
    assert [asked["tags"] for asked in api.purges] == [["copperplate"]]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_cdn_that_refuses_is_named_with_what_to_do_after_the_ledger_has_forgotten(
    api: VercelApi, status: int
) -> None:
    services = await filled(1)
    api.status = status
    async with cdn_of(api) as cdn:
        with pytest.raises(CdnUnavailable, match="vercel cache dangerously-delete --tag copperplate-") as refused:
            await purge(services.ledger, Condition(prompt="wrong 0"), is_dry_run=False, cdns=[cdn])
    assert TOKEN not in str(refused.value)
    assert (await services.renditions.read(picture_request("wrong 0"), GENERATE)).outcome is Outcome.GENERATED


async def test_cdn_that_fails_ends_no_other_and_each_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Cdn:
        def __init__(self, turns: int, error: str = "") -> None:
            self.turns, self.error, self.has_forgotten = turns, error, False

        async def forget(self, keys: Sequence[str], objects: Sequence[tuple[str, str]]) -> None:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            if self.error:
                raise CdnUnavailable(self.error)
            self.has_forgotten = True

    services = await filled(1)
    cdns = [Cdn(0, "the first is down"), Cdn(5), Cdn(2, "the third is down")]
    with pytest.raises(CdnUnavailable, match="the first is down"):
        await purge(services.ledger, Condition(prompt="wrong 0"), is_dry_run=False, cdns=cdns)
    assert cdns[1].has_forgotten
    assert "purge: the third is down" in caplog.text


async def test_cdn_that_does_not_answer_is_named() -> None:
    async with VercelCdn("http://127.0.0.1:9", token=TOKEN, project_id="p") as cdn:
        with pytest.raises(CdnUnavailable, match="does not answer"):
            await cdn.forget(["0" * 64], [])


async def test_wrong_token_names_the_settings_and_not_itself(api: VercelApi) -> None:
    async with cdn_of(api, token="another token altogether") as cdn:
        with pytest.raises(Misconfigured, match="COPPERPLATE_VERCEL_TOKEN") as refused:
            await cdn.forget(["0" * 64], [])
    assert "another" not in str(refused.value)


async def test_without_a_token_there_is_no_cdn_and_with_one_a_project_is_needed() -> None:
    async with open_cdns(Settings.from_env({})) as cdns:
        assert cdns == []
    with pytest.raises(Misconfigured, match="VERCEL_PROJECT_ID"):
        async with open_cdns(Settings.from_env({"COPPERPLATE_VERCEL_TOKEN": TOKEN})):
            pass
