"""Python and SQL make the same keys of the same recipes, and refuse the same ones."""

from __future__ import annotations

import random
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg.types.json import Jsonb

from copperplate.errors import CopperplateError
from copperplate.model import PictureFormat, Rendition
from copperplate.recipes.canonical import cache_key
from copperplate.recipes.image import image_request, rendition_key, standard_settings
from copperplate.recipes.objects import original_key
from copperplate.recipes.text import WHITE_SPACE, fold_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copperplate.model import CanonicalRecipe, CanonicalValue

BATCH: Final = 2_000
CANONICAL_BATCHES: Final = 25
REQUEST_BATCHES: Final = 27

# Given out in Unicode 15 and 16: known to some of the supported Pythons and servers, not to all.
NEWER_THAN_UNICODE_14: Final = (
    *((0x897, 0x897), (0xCF3, 0xCF3), (0xECE, 0xECE), (0x1B4E, 0x1B4F), (0x1B7F, 0x1B7F), (0x1C89, 0x1C8A)),
    *((0x2427, 0x2429), (0x2FFC, 0x2FFF), (0x31E4, 0x31E5), (0x31EF, 0x31EF), (0xA7CB, 0xA7CD)),
    *((0xA7DA, 0xA7DC), (0x105C0, 0x105F3), (0x10D40, 0x10D8F), (0x10EC2, 0x10EC4), (0x10EFC, 0x10EFF)),
    *((0x1123F, 0x11241), (0x11380, 0x113E2), (0x116D0, 0x116E3), (0x11B00, 0x11B09), (0x11BC0, 0x11BF9)),
    *((0x11F00, 0x11F5A), (0x1342F, 0x1342F), (0x13439, 0x13455), (0x13460, 0x143FA), (0x16100, 0x16139)),
    *((0x16D40, 0x16D79), (0x18CFF, 0x18CFF), (0x1B132, 0x1B132), (0x1B155, 0x1B155), (0x1CC00, 0x1CEB3)),
    *((0x1D2C0, 0x1D2D3), (0x1DF25, 0x1DF2A), (0x1E030, 0x1E08F), (0x1E4D0, 0x1E4F9), (0x1E5D0, 0x1E5FF)),
    *((0x1F6DC, 0x1F6DC), (0x1F774, 0x1F776), (0x1F77B, 0x1F77F), (0x1F7D9, 0x1F7D9), (0x1F8B2, 0x1F8C1)),
    *((0x1FA75, 0x1FA77), (0x1FA87, 0x1FA89), (0x1FA8F, 0x1FA8F), (0x1FAAD, 0x1FAAF), (0x1FABB, 0x1FABF)),
    *((0x1FAC6, 0x1FAC6), (0x1FACE, 0x1FACF), (0x1FADA, 0x1FADC), (0x1FADF, 0x1FADF), (0x1FAE8, 0x1FAE9)),
    *((0x1FAF7, 0x1FAF8), (0x1FBCB, 0x1FBEF), (0x2B739, 0x2B739), (0x2EBF0, 0x2EE5D), (0x31350, 0x323AF)),
)

TRY_FUNCTION: Final = """
create function pg_temp.try_image_key(
    p_prompt text, p_width integer, p_height integer, p_model text, p_seed text, p_settings text[]
) returns text language plpgsql as $$
begin
    return public.image_cache_key(p_prompt, p_width, p_height, p_model, p_seed, p_settings);
exception when sqlstate 'ZC001' then
    return sqlstate;
end $$;
"""
REFUSED: Final = "ZC001"


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@cache
def assigned() -> tuple[str, ...]:
    newer = {code for first, last in NEWER_THAN_UNICODE_14 for code in range(first, last + 1)}
    every = (chr(code) for code in range(1, 0x110000) if code not in newer)
    return tuple(each for each in every if unicodedata.category(each) not in {"Cn", "Cs"})


@cache
def composing() -> tuple[str, ...]:
    """Everything that normalising moves, joins or takes apart."""
    return tuple(
        each
        for each in assigned()
        if unicodedata.combining(each) or unicodedata.decomposition(each)[:1] not in {"", "<"}
    )


CONTROLS: Final = tuple(map(chr, (*range(1, 0x20), *range(0x7F, 0xA0))))
HANGUL: Final = tuple(map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A7, 0x11C3))))
SYLLABLES: Final = tuple(map(chr, range(0xAC00, 0xD7A4, 7)))
ESCAPES: Final = tuple("\"\\/\b\f\n\r\t\x7f'&<>,:{}[]")
EMOJI: Final = (*"👩🚀🏽👍❤☂", "\u200d", "\ufe0f", "\u20e3", "\U0001f1eb", "\U0001f1f7")
LATIN: Final = tuple("ABCabcxyzÅÄéñ ßıİ") + tuple("\u0300\u0301\u0308\u0323\u030a\u0327\u0345")


def seeded(seed: int) -> random.Random:
    """The same recipes in every run: a failure can be looked at again."""
    return random.Random(seed)


def text_of(rng: random.Random, *, controls: bool, max_length: int = 1_000) -> str:
    """A text from one family, or a mixture of them; mostly short, now and then at the limit."""
    families: list[tuple[str, ...]] = [
        *(assigned(), assigned(), composing(), (*composing(), *LATIN), (*HANGUL, *SYLLABLES)),
        *((*sorted(WHITE_SPACE), "a", "\u0301"), EMOJI, LATIN, ESCAPES if controls else LATIN),
    ]
    if controls:
        families.append((*CONTROLS, "a"))
    chosen = rng.sample(families, rng.choice((1, 1, 2, 3)))
    length = rng.choice((1, 2, 3, rng.randint(1, 40), rng.randint(1, 40), rng.randint(1, 120)))
    if rng.random() < 0.01:
        length = rng.randint(max_length - 20, max_length + 20)
    return "".join(rng.choice(rng.choice(chosen)) for _ in range(length))


def canonical_recipe_of(rng: random.Random) -> CanonicalRecipe:
    makers: tuple[Callable[[], CanonicalValue], ...] = (
        lambda: text_of(rng, controls=True),
        lambda: [text_of(rng, controls=True, max_length=40) for _ in range(rng.randint(0, 3))],
        lambda: rng.choice((True, False)),
        lambda: rng.choice((0, rng.randint(-9, 9), 2**53 - 1, 1 - 2**53, rng.randint(1 - 2**53, 2**53 - 1))),
    )
    names = ("".join(rng.choices('abkvAZ_019 "\\\n\x7f~', k=rng.randint(0, 6))) for _ in range(rng.randint(0, 6)))
    recipe = {name: rng.choice(makers)() for name in names}
    return {**recipe, "v": rng.randint(0, 3), "kind": text_of(rng, controls=True)}


def provider_input_of(rng: random.Random) -> dict[str, Any]:
    """The raw parts of a request: mostly good, sometimes wrong in one part."""
    seed = rng.choice(("", "", str(rng.randint(0, 99)), "007", str(rng.randint(0, 2**64 - 1)), str(2**64 - 1)))
    request = {
        "prompt": text_of(rng, controls=rng.random() < 0.1),
        "width": rng.choice((64, 2_048, rng.randint(64, 2_048))),
        "height": rng.choice((64, 2_048, rng.randint(64, 2_048))),
        "model": rng.choice(("fal-ai/flux/schnell", "painter", "a:b@1~!")),
        "seed": seed,
        "settings": rng.choice((None, (), ("b=2", "a=1", "b=2"), ("a_1=x y", "a1=", "a=~"))),
    }
    wrong = {
        "width": (0, -1, 63, 2_049, 2**31 - 1),
        "height": (0, 63, 2_049),
        "model": ("", "a b", "é", "m" * 201, "a\n"),
        "seed": ("-1", "+1", " 1", "1 ", "1\n", "1.0", "1e3", "٣", str(2**64), "9" * 300, "0" * 1_001, "x"),
        "settings": (("a",), ("=1",), ("a=1", "a=2"), ("A=1",), ("a=é",), ("1a=1",), ("a=1\n",), ("",)),
        "prompt": ("", " \t\u3000", "\x01", "a\x7f", "a\x9f", "x" * 1_001, " " * 20_001 + "x", "e\u0301" * 1_001),
    }
    if rng.random() < 0.15:
        part = rng.choice(tuple(wrong))
        request[part] = rng.choice(wrong[part])
    return request


def key_or_refusal(request: dict[str, Any]) -> str:
    settings = request["settings"]
    if settings is None:
        settings = standard_settings(request["model"])
    try:
        picture_request = image_request(**(request | {"settings": settings}), format=PictureFormat.PNG)
    except CopperplateError:
        return REFUSED
    return picture_request.generation_key


def sql_keys(owner: psycopg.Connection[Any], recipes: list[CanonicalRecipe]) -> list[str]:
    rows = owner.execute(
        "select public.cache_key(r.recipe) from jsonb_array_elements(%s) with ordinality as r (recipe, n) order by r.n",
        [Jsonb(recipes)],
    )
    return [row[0] for row in rows]


def sql_keys_or_refusals(owner: psycopg.Connection[Any], requests: list[dict[str, Any]]) -> list[str]:
    rows = owner.execute(
        "select pg_temp.try_image_key(r.prompt, r.width, r.height, r.model, r.seed, r.settings)"
        " from rows from (jsonb_to_recordset(%s) as (prompt text, width integer, height integer,"
        " model text, seed text, settings text[])) with ordinality as r order by r.ordinality",
        [Jsonb(requests)],
    )
    return [row[0] for row in rows]


def test_sql_hashes_fifty_thousand_canonical_recipes_as_python_does(owner: psycopg.Connection[Any]) -> None:
    rng = seeded(20_261_120)
    seen: dict[str, str] = {}
    for _ in range(CANONICAL_BATCHES):
        recipes = [canonical_recipe_of(rng) for _ in range(BATCH)]
        keys = [cache_key(recipe) for recipe in recipes]
        assert sql_keys(owner, recipes) == keys
        for key, recipe in zip(keys, recipes, strict=True):
            spelled = repr(sorted(recipe.items()))
            assert seen.setdefault(key, spelled) == spelled  # one key, one recipe


def test_sql_normalises_and_refuses_fifty_thousand_raw_requests_as_python_does(
    owner: psycopg.Connection[Any],
) -> None:
    owner.execute(TRY_FUNCTION)
    rng = seeded(1)
    refused = 0
    for _ in range(REQUEST_BATCHES):
        requests = [provider_input_of(rng) for _ in range(BATCH)]
        keys = [key_or_refusal(request) for request in requests]
        answers = sql_keys_or_refusals(owner, requests)
        differing = [pair for pair in zip(requests, keys, answers, strict=True) if pair[1] != pair[2]]
        assert not differing[:3]
        refused += keys.count(REFUSED)
    assert 0.1 < refused / (REQUEST_BATCHES * BATCH) < 0.5  # neither side agrees by refusing everything


def test_sql_folds_every_code_point_of_unicode_14_as_python_does(owner: psycopg.Connection[Any]) -> None:
    shuffled = [each for each in assigned() if each not in CONTROLS]
    seeded(14).shuffle(shuffled)
    texts = ["".join(shuffled[n : n + 200]) for n in range(0, len(shuffled), 200)]
    rows = owner.execute(
        "select copperplate.fold_text(t.text) from unnest(%s::text[]) with ordinality as t (text, n) order by t.n",
        [texts],
    )
    assert [row[0] for row in rows] == [fold_text(text) for text in texts]


def test_sql_composes_hangul_beside_the_letter_that_is_no_final(owner: psycopg.Connection[Any]) -> None:
    texts = [
        "\uac00\u11a7",
        "\u1100\u1161\u11a7",
        "\u11a7\u11a7",
        "\uac00\u11a7\u11a8",
        "e\u0301\u11a7e\u0301",
        "\u11a7",
    ]
    rows = owner.execute("select copperplate.fold_text(t) from unnest(%s::text[]) as t", [texts])
    assert [row[0] for row in rows] == [fold_text(text) for text in texts]


@pytest.mark.parametrize(
    "recipe",
    [
        *(None, "null", "1", '"x"', "[]", "{}", '{"v":1}', '{"kind":"x"}', '{"v":"1","kind":"x"}'),
        *('{"v":true,"kind":"x"}', '{"v":1,"kind":null}', '{"v":1.0,"kind":"x"}', '{"v":1,"kind":["x"]}'),
        *('{"v":1,"kind":"x","a":1.5}', '{"v":1,"kind":"x","a":9007199254740992}', '{"v":1,"kind":"x","a":1e30}'),
        *('{"v":1,"kind":"x","a":-9007199254740992}', '{"v":1,"kind":"x","a":null}', '{"v":1,"kind":"x","a":{}}'),
        *('{"v":1,"kind":"x","a":[1]}', '{"v":1,"kind":"x","a":["b",null]}', '{"v":1,"kind":"x","a":[["b"]]}'),
        *('{"v":1,"kind":"x","é":1}', '{"v":1,"kind":"x","a":["b",{}]}', '{"v":1,"kind":"x","a":1e1000}'),
    ],
)
def test_sql_refuses_what_is_not_a_canonical_recipe(owner: psycopg.Connection[Any], recipe: str | None) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        owner.execute("select public.cache_key(%s::jsonb)", [recipe])
    assert refusal.value.sqlstate == REFUSED
    assert refusal.value.diag.message_hint


@pytest.mark.parametrize("part", ["p_prompt", "p_width", "p_height", "p_model", "p_seed"])
def test_sql_refuses_a_part_that_is_null(owner: psycopg.Connection[Any], part: str) -> None:
    given = {"p_prompt": "x", "p_width": 64, "p_height": 64, "p_model": "m", "p_seed": ""} | {part: None}
    with pytest.raises(psycopg.Error) as refusal:
        owner.execute(
            "select public.image_cache_key(%(p_prompt)s, %(p_width)s, %(p_height)s, %(p_model)s, %(p_seed)s)", given
        )
    assert refusal.value.sqlstate == REFUSED


def test_the_key_of_a_picture_never_changes_in_sql(owner: psycopg.Connection[Any]) -> None:
    row = owner.execute(
        "select k.key, public.rendition_cache_key(k.key, 'jpg') from"
        " public.image_cache_key('A beautiful sunset over the sea', 1024, 1024) as k (key)"
    ).fetchone()
    assert row == (
        "3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3",
        "51db04f95e0aca7a85207e456fd0dec6086ac143a704c6046dd63ad161c0b4f8",
    )


def test_sql_makes_the_rendition_keys_python_makes(owner: psycopg.Connection[Any]) -> None:
    key = "ab" * 32
    for name, quality in (("jpg", 85), ("jpg", 1), ("webp", 85), ("webp", 100), ("png", None)):
        rendition = Rendition(format=PictureFormat(name), quality=quality)
        assert sql_rendition_key(owner, key, name, quality) == rendition_key(key, rendition)
    assert sql_rendition_key(owner, key, "jpeg", 85) == sql_rendition_key(owner, key, "jpg", 85)
    assert sql_rendition_key(owner, key, "original", 7) == original_key(key)
    assert sql_rendition_key(owner, key, "png", 7) == sql_rendition_key(owner, key, "png", None)


@pytest.mark.parametrize(
    "given",
    [("ab", "jpg", 85), ("AB" * 32, "jpg", 85), (None, "jpg", 85), ("ab" * 32, "gif", 85), ("ab" * 32, None, 85),
     ("ab" * 32, "JPG", 85), ("ab" * 32, "jpg", 0), ("ab" * 32, "jpg", 101), ("ab" * 32, "webp", None)],
)  # fmt: skip
def test_sql_refuses_a_rendition_that_does_not_exist(
    owner: psycopg.Connection[Any], given: tuple[str | None, str | None, int | None]
) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        sql_rendition_key(owner, *given)
    assert refusal.value.sqlstate == REFUSED


def sql_rendition_key(owner: psycopg.Connection[Any], key: str | None, name: str | None, quality: int | None) -> str:
    row = owner.execute("select public.rendition_cache_key(%s, %s, %s::integer)", [key, name, quality]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    "function",
    [
        "public.cache_key(jsonb)",
        "copperplate.fold_text(text)",
        "public.image_cache_key(text, integer, integer, text, text, text[])",
        "public.rendition_cache_key(text, text, integer, integer, integer)",
    ],
)
def test_only_the_service_role_may_make_keys(owner: psycopg.Connection[Any], function: str) -> None:
    rows = owner.execute(
        "select r, has_function_privilege(r, %s, 'execute')"
        " from unnest(array['anon', 'authenticated', 'service_role']) as r",
        [function],
    )
    assert dict(rows.fetchall()) == {"anon": False, "authenticated": False, "service_role": True}
