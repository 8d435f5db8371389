"""A kind that is added later: a row of `copperplate.kinds`, a `KindSpec` and a recipe, and everything serves it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.cli.operations import loss_of
from copperplate.compose.providers import MAKERS, make_provider
from copperplate.compose.services import _make_kinds, _running
from copperplate.errors import Misconfigured
from copperplate.http.app import create_app
from copperplate.model import Outcome, PictureRequest
from copperplate.operations.cleanup import clean, count
from copperplate.recipes import kinds, provider_input
from copperplate.recipes.canonical import cache_key
from copperplate.recipes.kinds import BUCKETS, KindSpec
from copperplate.recipes.objects import original_key
from copperplate.settings import PROVIDER_KEYS, Settings
from copperplate.testing import GENERATE
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.services import Services

POSTER = KindSpec(
    name="poster",
    plural="posters",
    bucket="poster-images",
    is_public=True,
    is_own_original=True,
    max_bytes=8 * 1024 * 1024,
    retention=timedelta(days=7),
    provider="openai",
    read=provider_input.of_image,
)
ENVIRONMENT = {
    "COPPERPLATE_PROVIDER": "painter",
    "CRON_SECRET": "a secret of the cron",
    "COPPERPLATE_METRICS_TOKEN": "a token of the metrics",
}
OPERATOR = {"Authorization": "Bearer a secret of the cron"}


@pytest.fixture(autouse=True)
def poster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one place in Python that is told of the kind."""
    monkeypatch.setitem(cast(dict[str, KindSpec], kinds.KINDS), POSTER.name, POSTER)
    monkeypatch.setitem(cast(dict[str, KindSpec], kinds.BUCKETS), POSTER.bucket, POSTER)


def poster_request() -> PictureRequest:
    image = picture_request()
    recipe = {**image.recipe, "kind": "poster", "model": "copperplate/painter-1"}
    key = cache_key(recipe)
    return replace(image, kind="poster", recipe=recipe, generation_key=key, rendition_key=original_key(key))


@asynccontextmanager
async def running() -> AsyncIterator[Services]:
    """The real wiring, with the painter, over memory."""
    clock = FakeClock()
    stores = {bucket: MemoryStore(bucket, clock) for bucket in BUCKETS}
    async with _running(Settings.from_env(ENVIRONMENT), cast(Any, MemoryLedger(clock)), stores) as services:
        yield services


async def test_a_third_kind_is_made_kept_in_its_bucket_and_served_from_it() -> None:
    async with running() as services:
        made = await services.renditions.read(poster_request(), GENERATE)
        again = await services.renditions.read(poster_request(), GENERATE)
        assert (made.outcome, again.outcome) == (Outcome.GENERATED, Outcome.HIT)
        assert made.body == again.body
        path = f"/storage/v1/object/public/{POSTER.bucket}/{made.entry.path}"
        transport = httpx.ASGITransport(create_app(services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.get(path)
        assert (answer.status_code, answer.content) == (200, made.body)


async def test_a_third_kind_is_counted_in_statistics_metrics_and_cleanup() -> None:
    async with running() as services:
        await services.renditions.read(poster_request(), GENERATE)
        transport = httpx.ASGITransport(create_app(services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            told = (await client.get("/api/cache/stats")).json()
            metrics = await client.get("/metrics", headers={"Authorization": "Bearer a token of the metrics"})
            counted = (await client.get("/api/cache/cleanup?dry_run=true", headers=OPERATOR)).json()
        assert set(told["savings"]) == {"image", "memoji", "processed", "poster"}
        families = {family.name: family for family in text_string_to_metric_families(metrics.text)}
        kept = {sample.labels["kind"]: sample.value for sample in families["copperplate_pictures"].samples}
        assert kept == {"image": 0, "memoji": 0, "processed": 0, "poster": 1}
        assert (counted["images"], counted["memoji"], counted["posters"]) == (0, 0, 0)


async def test_a_third_kind_is_cleaned_up_by_its_own_rule_and_named_where_it_is_asked_about() -> None:
    async with running() as services:
        await services.renditions.read(poster_request(), GENERATE)
        clock = cast(Any, services.ledger)._clock
        await clock.advance(8 * 86_400)
        counted = await count(services.ledger)
        assert counted["posters"] == 1
        assert loss_of(counted).startswith("1 pictures of 1 generations (1 posters), ")
        cleaned = await clean(services.ledger, services.stores.values(), clock=clock)
        assert cleaned.as_dict()["posters"] == 1


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "painter"),
        ({"OPENAI_API_KEY": "k"}, "openai"),
        ({"FAL_KEY": "k", "OPENAI_API_KEY": "k", "COPPERPLATE_PROVIDER": "fal"}, "fal"),
        ({"VERCEL": "1"}, None),
    ],
)
def test_provider_of_a_third_kind_is_chosen_by_its_spec(environment: dict[str, str], name: str | None) -> None:
    provider = make_provider("poster", Settings.from_env(environment), FakeClock())
    assert (None if provider is None else provider.name) == name


def test_deployment_starts_without_a_third_kind_that_nobody_makes() -> None:
    clock = FakeClock()
    settings = Settings.from_env({"SUPABASE_URL": "https://x.supabase.co", "COPPERPLATE_PROVIDER": "painter"})
    stores = {bucket: MemoryStore(bucket, clock) for bucket in BUCKETS}
    assert set(_make_kinds(settings, clock, stores)) == {"image", "memoji", "processed", "poster"}
    with pytest.raises(Misconfigured, match="Nobody makes images: set FAL_KEY"):
        _make_kinds(replace(settings, provider=None), clock, stores)
    assert set(_make_kinds(replace(settings, provider=None, fal_key="k"), clock, stores)) == {"image", "processed"}


def test_every_provider_that_can_be_named_has_its_maker_and_no_other_is_taken_for_the_painter() -> None:
    assert set(MAKERS) == set(PROVIDER_KEYS)
    settings = replace(Settings.from_env({}), provider="nobody")
    with pytest.raises(KeyError):
        make_provider("image", settings, FakeClock())
