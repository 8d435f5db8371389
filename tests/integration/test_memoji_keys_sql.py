"""Python and SQL make the same keys of the same memoji, and refuse the same configurations."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg.types.json import Jsonb

from copperplate.errors import CopperplateError
from copperplate.recipes.memoji import MemojiRecipe, request_of
from copperplate.recipes.memoji_words import ACCESSORIES, WORDS
from copperplate.recipes.text import WHITE_SPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH: Final = 2_000
BATCHES: Final = 50
REFUSED: Final = "ZC001"
MODEL: Final = "gpt-image-2.5-flare"
STANDARD: Final = ("moderation=auto", "quality=medium")
SPACES: Final = sorted(WHITE_SPACE)
TRY_FUNCTION: Final = """
create function pg_temp.try_memoji_key(p_configuration jsonb) returns text language plpgsql as $$
begin
    return public.memoji_cache_key(p_configuration);
exception when sqlstate 'ZC001' then
    return sqlstate;
end $$;
"""


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


def spelled(rng: random.Random, word: str) -> str:
    """A word as somebody may write it: any case, other joints, white space around it."""
    letters = "".join(each.upper() if rng.random() < 0.3 else each for each in word)
    joint = rng.choice(("-", " ", "_", "\u00a0", " \t\u3000"))
    around = ["".join(rng.choices(SPACES, k=rng.randint(0, 2))) for _ in range(2)]
    return around[0] + letters.replace("-", joint) + around[1]


def wrong_value(rng: random.Random) -> object:
    return rng.choice(
        (
            *("", "   ", "\x01", "x" * 1_001, "K" + "\u0301", "\u212a", "ſhort", "lоng", "short.", "sh ort", "--"),
            *(0, 1.5, True, False, [], {}, ["short"], [None], {"a": 1}, "short\u200d", "İ", "FATHER!"),
        )
    )


def configuration_of(rng: random.Random) -> dict[str, object]:
    """Mostly good, sometimes wrong in one field."""
    configuration: dict[str, object] = {
        field: rng.choice((spelled(rng, rng.choice(tuple(words))), None))
        for field, words in WORDS.items()
        if rng.random() < 0.6
    }
    if rng.random() < 0.6:
        chosen = rng.choices(tuple(ACCESSORIES), k=rng.randint(0, 8))
        configuration["accessories"] = rng.choice(([spelled(rng, each) for each in chosen], chosen, None))
    if rng.random() < 0.5:
        sides = [rng.choice((64, 1_024, 2_048, rng.randint(60, 2_060))) for _ in range(2)]
        configuration["size"] = rng.choice((f"{sides[0]}x{sides[1]}", f" {sides[0]}X{sides[1]}\n", None))
    if rng.random() < 0.3:
        configuration["model"] = rng.choice((None, "gpt-image-2", "copperplate/painter-1", "fal-ai/flux/dev"))
    if rng.random() < 0.15:
        field = rng.choice((*WORDS, "accessories", "size", "model", "prompt", "Hair", "settings", "v", "self", ""))
        configuration[field] = rng.choice((wrong_value(rng), None, "01024x1024", "64", "64x", ["hat", 3], "a b"))
    return configuration


def key_or_refusal(configuration: dict[str, object]) -> str:
    try:
        model = configuration.get("model")
        model = MODEL if model is None else model
        settings = STANDARD if str(model).startswith("gpt-image-") else ()
        if "settings" in configuration:
            return REFUSED
        return request_of(MemojiRecipe(**{**configuration, "model": model, "settings": settings})).generation_key
    except CopperplateError:
        return REFUSED


def test_sql_normalises_and_refuses_a_hundred_thousand_configurations_as_python_does(
    owner: psycopg.Connection[Any],
) -> None:
    owner.execute(TRY_FUNCTION)
    rng = random.Random(20_261_128)
    refused, keys = 0, set[str]()
    for _ in range(BATCHES):
        configurations = [configuration_of(rng) for _ in range(BATCH)]
        ours = [key_or_refusal(each) for each in configurations]
        rows = owner.execute(
            "select pg_temp.try_memoji_key(c.one) from jsonb_array_elements(%s) with ordinality as c (one, n)"
            " order by c.n",
            [Jsonb(configurations)],
        ).fetchall()
        differing = [pair for pair in zip(configurations, ours, rows, strict=True) if pair[1] != pair[2][0]]
        assert not differing[:3]
        refused += ours.count(REFUSED)
        keys.update(ours)
    assert 0.05 < refused / (BATCHES * BATCH) < 0.5  # neither side agrees by refusing everything
    assert len(keys) > 40_000


@pytest.mark.parametrize(
    "spelling",
    [
        "{}",
        '{"hair": null, "accessories": null, "size": null}',
        '{"familyType": " FATHER ", "gesture": "Wave", "hair": "SHORT", "skinTone": "Medium"}',
        '{"colorTheme": "Pastel  Blue", "background": "AUTO", "size": "1024X1024", "accessories": []}',
        '{"model": "gpt-image-2.5-flare"}',
    ],
)
def test_the_key_of_a_memoji_never_changes(owner: psycopg.Connection[Any], spelling: str) -> None:
    row = owner.execute("select public.memoji_cache_key(%s)", [spelling]).fetchone()
    assert row == ("2c5144f222a905acbfdaf59789bb4727d38ebf7fb40abd940f9ee0a41e723cc5",)


def test_settings_count_in_any_order_and_once_but_for_the_background(owner: psycopg.Connection[Any]) -> None:
    said = ["quality=medium", "background=opaque", "moderation=auto", "quality=medium"]
    row = owner.execute("select public.memoji_cache_key('{}', p_settings => %s)", [said]).fetchone()
    assert row == (request_of(MemojiRecipe(model=MODEL, settings=STANDARD)).generation_key,)


@pytest.mark.parametrize("said", [["quality=high", "quality=low"], ["Quality=high"], ["quality"], [None]])
def test_settings_that_are_none_are_refused(owner: psycopg.Connection[Any], said: list[str | None]) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        owner.execute("select public.memoji_cache_key('{}', p_settings => %s::text[])", [said])
    assert refusal.value.sqlstate == REFUSED


@pytest.mark.parametrize("configuration", [None, "null", "[]", "1", '"x"', '{"hair": "green"}', '{"user": 1}'])
def test_what_is_no_configuration_is_refused_with_advice(
    owner: psycopg.Connection[Any], configuration: str | None
) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        owner.execute("select public.memoji_cache_key(%s::jsonb)", [configuration])
    assert refusal.value.sqlstate == REFUSED
    assert refusal.value.diag.message_hint


def test_the_words_of_both_are_the_same(owner: psycopg.Connection[Any]) -> None:
    for field, words in {**WORDS, "accessories": ACCESSORIES}.items():
        row = owner.execute("select copperplate.memoji_words(%s)", [field]).fetchone()
        assert row is not None
        assert tuple(row[0]) == tuple(words)
