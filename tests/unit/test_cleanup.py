"""Purges, and Vercel's CDN, which has to forget too (a STAND-IN of its API over a real socket)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.vercel_cdn import VercelCdn
from copperplate.compose import cdns_of
from copperplate.errors import CdnUnavailable, Misconfigured
from copperplate.model import Condition, Outcome
from copperplate.operations import purge as purging
from copperplate.operations.purge import purge
from copperplate.ports.cdns import MOST, CdnCopies, CdnScope
from copperplate.recipes.objects import tag_of
from copperplate.settings import Settings
from copperplate.testing import GENERATE
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request
from tests.support.vercel_api import TOKEN, VercelApi, vercel_api

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def api() -> Iterator[VercelApi]:
    with vercel_api() as standin:
        yield standin


def cdn_of(api: VercelApi, token: str = TOKEN) -> VercelCdn:
    return VercelCdn(api.url, token=token, project_id="prj_1", team_id="team_1")


def copies(*keys: str) -> CdnCopies:
    return CdnCopies(generation_keys=keys)


async def filled(count: int, clock: FakeClock | None = None) -> MemoryServices:
    services = memory_services(clock=clock or FakeClock())
    for number in range(count):
        await services.renditions.read(picture_request(f"wrong {number}"), GENERATE)
    return services


async def test_a_purged_picture_is_made_anew_and_others_are_not() -> None:
    clock = FakeClock()
    services = await filled(2, clock)
    key = picture_request("wrong 0").rendition_key
    counts = await purge(services.ledger, Condition(key=key), is_dry_run=False)
    assert (counts["generations"], counts["images"]) == (1, 2)  # the WebP beside it
    await clock.advance(3)
    assert (await services.renditions.read(picture_request("wrong 0"), GENERATE)).outcome is Outcome.GENERATED
    assert (await services.renditions.read(picture_request("wrong 1"), GENERATE)).outcome is Outcome.HIT


async def test_dry_run_counts_and_changes_nothing_anywhere() -> None:
    services = await filled(2)
    condition = Condition(model=picture_request().model)
    counted = await purge(services.ledger, condition, is_dry_run=True)
    assert (await services.renditions.read(picture_request("wrong 0"), GENERATE)).outcome is Outcome.HIT
    assert await purge(services.ledger, condition, is_dry_run=False) == counted


async def test_large_purge_goes_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "ROWS", 7)
    services = await filled(17)
    counts = await purge(services.ledger, Condition(model=picture_request().model), is_dry_run=False)
    assert counts["generations"] == 17


async def test_a_picture_is_dropped_from_the_cdn_by_its_tag(api: VercelApi) -> None:
    async with cdn_of(api) as cdn:
        await cdn.forget(copies("a" * 64))
    assert api.purges == [
        {
            "path": "/v1/edge-cache/dangerously-delete-by-tags",
            "projectIdOrName": ["prj_1"],
            "teamId": ["team_1"],
            "tags": [tag_of("a" * 64)],
            "target": "production",
        }
    ]


async def test_sixteen_tags_go_in_a_call(api: VercelApi) -> None:
    keys = [f"{number:064x}" for number in range(MOST)]
    tags = [tag_of(key) for key in keys]
    async with cdn_of(api) as cdn:
        await cdn.forget(copies(*keys[:16]))
        await cdn.forget(copies(*keys))
        await cdn.forget(CdnCopies(is_everything=True))
    assert api.tags == [tags[:16], tags[:16], tags[16:], ["copperplate"]]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_cdn_that_refuses_is_named_with_what_to_do(api: VercelApi, status: int) -> None:
    api.status = status
    async with cdn_of(api) as cdn:
        with pytest.raises(CdnUnavailable, match="vercel cache dangerously-delete --tag copperplate-") as refused:
            await cdn.forget(copies("0" * 64))
    assert TOKEN not in str(refused.value)


async def test_cdn_that_does_not_answer_is_named() -> None:
    async with VercelCdn("http://127.0.0.1:9", token=TOKEN, project_id="p") as cdn:
        with pytest.raises(CdnUnavailable, match="does not answer"):
            await cdn.forget(copies("0" * 64))


async def test_wrong_token_names_the_settings_and_not_itself(api: VercelApi) -> None:
    async with cdn_of(api, token="another token altogether") as cdn:
        with pytest.raises(Misconfigured, match="COPPERPLATE_VERCEL_TOKEN") as refused:
            await cdn.forget(copies("0" * 64))
    assert "another" not in str(refused.value)


def test_without_a_token_there_is_no_cdn_and_with_one_a_project_is_needed() -> None:
    assert not cdns_of(Settings.from_env({}))
    with pytest.raises(Misconfigured, match="VERCEL_PROJECT_ID"):
        cdns_of(Settings.from_env({"COPPERPLATE_VERCEL_TOKEN": TOKEN}))[CdnScope.TAG]()
