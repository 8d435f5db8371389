"""The tier in Redis over a real Valkey: what is kept is found, by whom, for how long, and how it is removed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.redis.copies import Found, RedisCopies
from copperplate.adapters.redis.values import name_of, prefix_of
from copperplate.errors import RedisUnavailable
from copperplate.feed import Tier
from copperplate.recipes.memoji import MemojiRecipe, request_of
from tests.support.pictures import MODEL, picture_request
from tests.support.redis_copies import DATABASE, LIFETIME, copies, copy_of, redis_tier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.redis_tier import RedisTier
    from tests.support.valkey_server import Valkey

OTHER_DATABASE = "ff51f0a2-7d0e-4a34-9d2c-2f4f5f4a8a10/7400000000000000000/1"


@pytest.fixture
async def tier(valkey: Valkey) -> AsyncIterator[RedisTier]:
    """Of one process."""
    tier = redis_tier(valkey.url)
    yield tier
    await tier.close()


async def test_what_one_process_keeps_another_finds(tier: RedisTier, valkey: Valkey) -> None:
    request = picture_request("kept once")
    copy = copy_of(request)
    await tier.keep(replace(copy, body=b"its bytes"), request)
    other = redis_tier(valkey.url)
    assert await other.find(request.rendition_key, DATABASE) == copy
    await other.drop(request.rendition_key)
    assert await tier.find(request.rendition_key, DATABASE) is None
    await other.close()


async def test_newer_copy_takes_the_place_of_an_older_one(tier: RedisTier) -> None:
    request = picture_request("kept twice")
    await tier.keep(copy_of(request), request)
    newer = copy_of(request, cursor="20:20:")
    await tier.keep(newer, request)
    assert await tier.find(request.rendition_key, DATABASE) == newer


async def test_copy_ends_by_itself(tier: RedisTier, valkey: Valkey) -> None:
    request = picture_request("kept for two hours")
    await tier.keep(copy_of(request), request)
    left = valkey.ask.ttl(name_of(request.rendition_key, DATABASE))
    assert isinstance(left, int)
    assert LIFETIME.total_seconds() - 600 < left <= LIFETIME.total_seconds()


async def test_databases_that_share_a_server_do_not_meet(tier: RedisTier, valkey: Valkey) -> None:
    request = picture_request("in both")
    here, there = copy_of(request), copy_of(request, database=OTHER_DATABASE, cursor="1:1:")
    await tier.keep(here, request)
    await tier.keep(there, request)
    assert await tier.find(request.rendition_key, DATABASE) == here
    assert await tier.find(request.rendition_key, OTHER_DATABASE) == there
    # Nor could one pass for the other, were it moved.
    valkey.ask.rename(name_of(request.rendition_key, OTHER_DATABASE), name_of(request.rendition_key, DATABASE))
    assert await tier.find(request.rendition_key, DATABASE) is None
    # Its id is what nobody but a reader of the ledger knows.
    assert not any(DATABASE in each or DATABASE[:8] in each for each in valkey.ask.scan_iter())


async def test_people_find_the_fields_that_were_promised(tier: RedisTier, valkey: Valkey) -> None:
    request = picture_request("a prompt of somebody")
    await tier.keep(copy_of(request), request)
    kept = str(valkey.ask.get(name_of(request.rendition_key, DATABASE)))
    value = json.loads(kept)
    assert {name: value[name] for name in ("thread_id", "style", "title", "prompt", "model", "cached")} == {
        "thread_id": request.generation_key,
        "style": None,
        "title": "64x64.jpg",
        "prompt": None,
        "model": MODEL,
        "cached": True,
    }
    assert "somebody" not in kept
    assert (value["cursor"], value["entry"]["path"]) == ("7:9:8", copy_of(request).entry.path)


async def test_prompt_is_kept_where_it_may_be(valkey: Valkey) -> None:
    tier = redis_tier(valkey.url, has_prompts=True)
    request = picture_request("ein Löwe " * 20)
    await tier.keep(copy_of(request), request)
    value = json.loads(str(valkey.ask.get(name_of(request.rendition_key, DATABASE))))
    assert value["prompt"] == ("ein Löwe " * 20).strip()
    assert value["title"] == value["prompt"][:80]
    assert await tier.find(request.rendition_key, DATABASE) == copy_of(request)
    await tier.close()


async def test_style_of_a_memoji_is_its_theme(tier: RedisTier, valkey: Valkey) -> None:
    request = request_of(MemojiRecipe(model=MODEL, colorTheme="pastel-peach"))
    await tier.keep(copy_of(request), request)
    assert json.loads(str(valkey.ask.get(name_of(request.rendition_key, DATABASE))))["style"] == "pastel-peach"


async def test_figures_count_the_copies_of_this_database(tier: RedisTier, valkey: Valkey) -> None:
    for request, copy in copies(30):
        await tier.keep(copy, request)
    await _keep_of_another_database(tier)
    valkey.ask.set("somebody:else", "x" * 1_000)
    await tier.find("0" * 64, DATABASE)
    figures = await tier.figures()
    assert figures is not None
    assert (figures.tier, figures.entries) == (Tier.REDIS, 30)
    sizes = [valkey.ask.strlen(name_of(request.rendition_key, DATABASE)) for request, _ in copies(30)]
    assert figures.bytes == sum(size for size in sizes if isinstance(size, int))
    assert figures.oldest_seconds is not None
    assert 0 <= figures.oldest_seconds < 600


async def test_figures_are_none_where_others_have_many_keys(
    tier: RedisTier, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copperplate.adapters.redis_tier.MAX_PAGES", 2)
    monkeypatch.setattr("copperplate.adapters.redis_tier.PAGE_KEYS", 10)
    valkey.ask.mset({f"somebody:{number}": "else" for number in range(200)})
    assert await tier.figures() is None


async def _keep_of_another_database(tier: RedisTier) -> None:
    asked = picture_request("of another database")
    await tier.keep(copy_of(asked, database=OTHER_DATABASE), asked)


@pytest.fixture
async def many(tier: RedisTier, valkey: Valkey) -> list[str]:
    """The generations of 1,200 copies, among keys of others and one copy of another database."""
    kept = copies(1_200)
    for request, copy in kept:
        await tier.keep(copy, request)
    await _keep_of_another_database(tier)
    valkey.ask.mset({f"somebody:{number}": "else" for number in range(500)})
    valkey.ask.set("copperplate:other", "is ours, and no copy")
    return [request.generation_key for request, _ in kept]


async def test_copies_are_counted_and_removed_by_generation_or_all(many: list[str], valkey: Valkey) -> None:
    async with RedisCopies(valkey.url, database=DATABASE) as kept:
        every = await kept.count()
        assert every.entries == len(many)
        assert every.bytes == _size(valkey, *valkey.ask.scan_iter(f"{prefix_of(DATABASE)}*"))
        some = await kept.count(many[:3])
        assert (some.entries, await kept.count(["f" * 64])) == (3, Found())
        assert await kept.remove(many[:3]) == some
        assert await kept.count(many[:3]) == Found()
        assert (await kept.remove()).entries == len(many) - 3
        assert await kept.count() == Found()
    # That of another database is left, and what is no copy.
    assert valkey.ask.dbsize() == 502


async def test_what_another_type_has_at_a_key_of_ours_is_removed(valkey: Valkey) -> None:
    valkey.ask.lpush(name_of("1" * 64, DATABASE), "a list")
    async with RedisCopies(valkey.url, database=DATABASE) as kept:
        assert await kept.remove(["1" * 64]) == Found()
        assert await kept.remove() == Found(1, 0)


async def test_removal_by_pages_lets_others_in_between(many: list[str], valkey: Valkey) -> None:
    valkey.forget_calls()
    async with RedisCopies(valkey.url, database=DATABASE) as kept:
        assert (await kept.remove()).entries == len(many)
    assert valkey.calls("scan") >= 3
    assert 3 <= valkey.calls("unlink") <= valkey.calls("scan")
    assert valkey.calls("keys") == 0


async def test_purge_says_that_redis_does_not_answer(own_valkey: Valkey) -> None:
    own_valkey.ask.config_set("requirepass", "nobody knows")
    async with RedisCopies(own_valkey.url, database=DATABASE) as kept:
        with pytest.raises(RedisUnavailable, match=r"AuthenticationError.*REDIS_URL"):
            await kept.count()
    own_valkey.ask.close()
    own_valkey.stop()
    async with RedisCopies(own_valkey.url, database=DATABASE) as kept:
        with pytest.raises(RedisUnavailable, match="does not answer"):
            await kept.remove()


def _size(valkey: Valkey, *names: object) -> int:
    return sum(int(str(valkey.ask.strlen(str(name)))) for name in names)
