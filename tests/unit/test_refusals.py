"""What a service says where it refuses us: one short line, no secret, no prompt."""

from __future__ import annotations

import pytest

from copperplate.refusals import MAX_REASON, WITHHELD, without_prompt, without_secrets

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


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ("not allowed: 'a Red  fox'", "a red fox"),
        ("not allowed: ...red fox jumps ov", "The red fox jumps over it"),
        ("not allowed: a red fox", "A RED FOX"),
        ("not allowed: fox", "fox"),
        ("not allowed: fox (den)", "fox (den)"),
    ],
)
def test_reason_that_repeats_a_prompt_is_withheld(said: str, prompt: str) -> None:
    assert without_prompt(said, prompt) == WITHHELD


@pytest.mark.parametrize("prompt", ["", "fox", "a red fox", "is", "balance of nature"])
def test_reason_that_does_not_stays(prompt: str) -> None:
    assert without_prompt("Billing hard limit has been reached", prompt) == "Billing hard limit has been reached"
