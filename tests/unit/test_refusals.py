"""What a service says where it refuses us: one short line, no secret, no prompt."""

from __future__ import annotations

import html
import json
import random
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from copperplate.refusals import MAX_REASON, repeats_prompt, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "fal_0123456789"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("User is locked. Reason: Exhausted balance.", "User is locked. Reason: Exhausted balance."),
        ("two\nlines\x1b[31m and\ta tab\u2028x", "two lines [31m and a tab x"),
        (f"the key {KEY} is not known", "the key *** is not known"),
        ("Incorrect API key provided: sk-proj-********************abcd.", "Incorrect API key provided: ***"),
        ("Incorrect API key provided: abc***********xyz. Look", "Incorrect API key provided: ***. Look"),
        ("Authorization: Key 0123456789abcdef01", "Authorization: ***"),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoieCJ9.c2lnbmF0dXJl", "***"),
        ("12345678-1234-1234-1234-123456789012:0123456789abcdef", "***"),
        ("token ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "token ***"),
        ("use gpt-image-2.5-flare-2026-09-08, see platform.openai.com/settings/organization/general",) * 2,
    ],
)
def test_reason_is_one_line_without_what_looks_like_a_key(said: str, shown: str) -> None:
    assert without_secrets(said, (KEY, "")) == shown


def test_reason_is_short() -> None:
    assert len(without_secrets("no money " * 1000)) == MAX_REASON


LONG = "supercalifragilisticexpialidocious-" * 12
CHINESE = "一只红色的狐狸在雪地里奔跑背景是富士山日落"


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ("not allowed: 'a Red  fox'", "a red fox"),
        ("not allowed: ...red fox jumps ov", "The red fox jumps over it"),
        ("not allowed: a red fox", "A RED FOX"),
        ("not allowed: fox", "fox"),
        ("not allowed: fox (den)", "fox (den)"),
        (f"提示词{CHINESE}不可用", CHINESE),
        (f"...{CHINESE[5:10]}...", CHINESE),
        (f"No right for prompt: {LONG[:250]}", LONG),
        ("No right for: Mother&#39;s &quot;secret&quot; &lt;b&gt;wish&lt;/b&gt;", 'Mother\'s "secret" <b>wish</b>'),
        ("No right for: Mother&amp;#39;s secret wish", "Mother's secret wish"),
        ("No right for: k\\u00e4se gr\\u00f6\\u00dfe \\u00fcbermut", "käse größe übermut"),
        ("No right for: k\\\\u00e4se gr\\\\u00f6\\\\u00dfe", "käse größe"),
        ("No right for: ka\u0308se gro\u0308ße", "käse größe"),
        ("No right: alice, bob, carol, dave", "alice,bob,carol,dave at home"),
        ("No right for prompt Jonathan-Livingstone", "Jonathan Livingstone"),
        ("No right for a%20red%20fox%20jumping", "a red fox jumping"),
        ("No right for \\ud83e\\udd8a\\ud83e\\udd8a", "🦊🦊"),
    ],
)
def test_reason_that_repeats_a_prompt_is_recognized(said: str, prompt: str) -> None:
    assert repeats_prompt(said, prompt)


@pytest.mark.parametrize("prompt", ["", "...", "fox", "a red fox", "is", "balance of nature", CHINESE, LONG])
def test_reason_that_repeats_no_prompt_stays(prompt: str) -> None:
    assert not repeats_prompt("Billing hard limit has been reached", prompt)


FORMS: list[Callable[[str], str]] = [
    str.upper,
    html.escape,
    lambda text: html.escape(html.escape(text)),
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(json.dumps(text))[1:-1],
    quote,
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: re.sub(r"\s+", "-", text),
    lambda text: re.sub(r"\s+", "", text),
    lambda text: text.replace(" ", "\n  "),
]
WORDS = [
    "fox",
    "käse",
    "größe",
    "Ελλάδα",
    "狐狸",
    "雪地里",
    "秘密の願い",
    "여우",
    "don't",
    "a&b",
    "🦊",
    '"so"',
    "x<y",
    "Łódź",
    "naïve",
]


def test_piece_of_a_prompt_is_recognized_however_it_is_written() -> None:
    generator = random.Random(20261129)
    for _ in range(400):
        prompt = " ".join(generator.choices(WORDS, k=generator.randint(4, 60)))
        first = generator.randrange(max(1, len(prompt) - 24))
        piece = prompt if generator.random() < 0.2 else prompt[first : first + generator.randint(24, 80)]
        before, after = generator.choices(["", "no right for ", "提示词", "k", "(", "\\"], k=2)
        form = generator.choice(FORMS)
        assert repeats_prompt(f"{before}{form(piece)}{after}", prompt), (form(piece), prompt)


def test_words_that_a_prompt_does_not_have_are_kept() -> None:
    generator = random.Random(20261129)
    for _ in range(400):
        prompt = " ".join(generator.choices(WORDS, k=generator.randint(4, 200)))
        assert not repeats_prompt("You exceeded your current quota, please check your plan and billing details", prompt)


def test_time_is_linear_in_what_is_said_and_asked() -> None:
    # With a comparison of each place with each other this takes hours.
    assert not repeats_prompt("ab" * 1_000_000, "ba" * 5 + "c" + "ac" * 500_000)
