"""The price table: pinned, whole numbers only, exact, and never below what is billed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copperplate import prices
from copperplate.adapters.fal import Fal
from copperplate.adapters.fal.queue import parse_units
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.openai import DEFAULT_MODEL, QUALITY, OpenAIImages
from copperplate.adapters.painter import Painter
from copperplate.model import Size
from copperplate.recipes.image import DEFAULT_MODEL as FAL_MODEL

if TYPE_CHECKING:
    from copperplate.model import CanonicalValue
    from copperplate.ports import Provider

# One entry per version ever published. A price that changed needs a new version, and its digest here.
DIGESTS = {1: "6527a7bd6d9e0270", 2: "96a5608973ec5f81"}

SIDES = st.integers(64, 2_048)
SIZES = st.builds(lambda width, height: Size(width=width, height=height), SIDES, SIDES)
TOKENS = st.integers(0, 10**9)
QUALITIES = [(model, quality) for model, qualities in prices.PATCHES.items() for quality in qualities]


def test_price_cannot_change_without_a_new_version() -> None:
    table = {
        "as_of": prices.AS_OF.isoformat(),
        "rows": [asdict(row) for row in prices.rows()],
        "prompt": [prices.prompt_tokens("x" * length) for length in (0, 1, 100)],
        "sizes": [
            prices.drawn_tokens(model, quality, Size(width=width, height=height))
            for model, quality in QUALITIES
            for width, height in ((1536, 1024), (1024, 1536), (2048, 688), (2048, 2048))
        ],
        "megapixel": prices.MEGAPIXEL,
    }
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]
    assert digest == DIGESTS[prices.VERSION], "a price changed: raise VERSION, set AS_OF, add the digest"
    assert max(DIGESTS) == prices.VERSION


def test_every_row_is_a_whole_price_with_a_source_and_only_the_painter_is_free() -> None:
    for row in prices.rows():
        assert type(row.micro_usd) is int
        assert row.source
        assert (row.micro_usd == 0) is (row.provider == "painter")
    named = [(row.provider, row.model, row.unit) for row in prices.rows()]
    assert len(set(named)) == len(named)


# --- fal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "price"),
    [((512, 512), 3_000), ((1024, 1024), 3_000), ((1056, 1024), 6_000), ((1920, 1088), 6_000), ((2048, 2048), 12_000)],
)
def test_fal_bills_started_megapixels(size: tuple[int, int], price: int) -> None:
    assert prices.estimate_megapixels(FAL_MODEL, Size(width=size[0], height=size[1])) == price


@given(SIZES, SIZES, st.sampled_from(sorted(prices.MEGAPIXEL_PRICES)))
def test_larger_picture_of_fal_never_costs_less(one: Size, other: Size, model: str) -> None:
    less, more = sorted((one, other), key=lambda size: size.width * size.height)
    first, second = prices.estimate_megapixels(model, less), prices.estimate_megapixels(model, more)
    assert first is not None
    assert second is not None
    assert first <= second


@given(
    st.decimals(0, 10_000, places=9, allow_nan=False, allow_infinity=False),
    st.sampled_from(sorted(prices.MEGAPIXEL_PRICES)),
)
def test_units_fal_reports_cost_what_exact_arithmetic_says_rounded_up_twice(units: Decimal, model: str) -> None:
    micro_units = parse_units(str(units))
    assert micro_units is not None
    cost = prices.cost_of_units(model, {"micro_units": micro_units})
    exact = prices.MEGAPIXEL_PRICES[model].micro_usd * units
    assert cost is not None
    assert exact <= cost
    # One rounding to a millionth of a unit, whose price is below a millionth of a dollar, and one to such a millionth.
    assert cost - exact < 2
    whole = prices.cost_of_units(model, {"micro_units": int(units) * prices.MICRO})
    assert whole == prices.MEGAPIXEL_PRICES[model].micro_usd * int(units)


@given(SIZES)
def test_whole_megapixels_reported_cost_what_was_estimated(size: Size) -> None:
    units = int((Decimal(size.width * size.height) / prices.MEGAPIXEL).to_integral_value(ROUND_CEILING))
    told = {"micro_units": units * prices.MICRO}
    assert prices.cost_of_units(FAL_MODEL, told) == prices.estimate_megapixels(FAL_MODEL, size)


# --- OpenAI --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quality", "tokens"), [("low", 196), ("medium", 439), ("high", 1_756), ("xhigh", 3_122), ("max", 7_024)]
)
def test_tokens_of_the_standard_size_are_those_published(quality: str, tokens: int) -> None:
    assert prices.drawn_tokens(DEFAULT_MODEL, quality, Size(width=1024, height=1024)) == tokens


def test_tokens_of_another_size_are_those_a_real_answer_billed() -> None:
    assert prices.drawn_tokens("gpt-image-2", "low", Size(width=1536, height=864)) == 120


@pytest.mark.parametrize(("prompt", "billed"), [("turn the logo to green", 12), ("a siamese cat", 10)])
def test_prompt_is_counted_with_no_fewer_tokens_than_real_answers_billed(prompt: str, billed: int) -> None:
    assert billed <= prices.prompt_tokens(prompt) <= 2 * billed


def test_table_gives_the_prices_per_picture_that_are_quoted_everywhere() -> None:
    """To a thousandth of a dollar: litellm's price map has them."""
    quoted = {
        ("gpt-image-2", "low"): 6,
        ("gpt-image-2", "medium"): 53,
        ("gpt-image-2", "high"): 211,
        ("gpt-image-2.5-flare", "low"): 6,
        ("gpt-image-2.5-flare", "medium"): 13,
        ("gpt-image-2.5-flare", "high"): 53,
    }
    shown = {(row.model, row.unit.rpartition(" ")[2]): row.micro_usd for row in prices.rows() if "picture," in row.unit}
    assert {key: round(shown[key] / 1_000) for key in quoted} == quoted


@given(SIZES, st.sampled_from(sorted(prices.PATCHES)))
def test_better_quality_never_draws_fewer_tokens_and_turning_a_picture_changes_none(size: Size, model: str) -> None:
    counts = [prices.drawn_tokens(model, quality, size) for quality in prices.PATCHES[model]]
    assert all(type(count) is int and count > 0 for count in counts)
    assert counts == sorted(counts, key=lambda count: count or 0)
    turned = Size(width=size.height, height=size.width)
    assert counts == [prices.drawn_tokens(model, quality, turned) for quality in prices.PATCHES[model]]


@given(TOKENS, TOKENS, TOKENS, st.sampled_from(sorted(prices.TOKEN_PRICES)))
def test_tokens_reported_cost_each_their_price_to_the_unit(text: int, image: int, out: int, model: str) -> None:
    price = prices.TOKEN_PRICES[model]
    cost = prices.cost_of_tokens(model, {"text_in": text, "image_in": image, "out": out})
    assert cost == text * price.text_in + image * price.image_in + out * price.out
    assert prices.cost_of_tokens(model, {"out": out}) == out * price.out


@given(SIZES, st.text(max_size=200), st.text(max_size=50), st.sampled_from(QUALITIES))
def test_longer_prompt_never_costs_less(size: Size, prompt: str, more: str, named: tuple[str, str]) -> None:
    short, long = (prices.estimate_tokens(*named, size, text) for text in (prompt, prompt + more))
    assert short is not None
    assert long is not None
    assert short <= long


# --- unknown is not zero -------------------------------------------------------------------------


def test_what_is_not_in_the_table_has_no_price() -> None:
    size = Size(width=1024, height=1024)
    assert prices.estimate_megapixels("fal-ai/nobody", size) is None
    assert prices.estimate_tokens("gpt-image-9", QUALITY, size, "a fox") is None
    assert prices.estimate_tokens(DEFAULT_MODEL, "auto", size, "a fox") is None
    assert prices.cost_of_units("fal-ai/nobody", {"micro_units": 1}) is None
    assert prices.cost_of_tokens("gpt-image-9", {"out": 1}) is None


def test_report_without_a_unit_we_know_has_no_price() -> None:
    assert prices.cost_of_units(FAL_MODEL, {}) is None
    assert prices.cost_of_units(FAL_MODEL, {"out": 1}) is None
    assert prices.cost_of_tokens(DEFAULT_MODEL, {}) is None
    assert prices.cost_of_tokens(DEFAULT_MODEL, {"micro_units": 1_000_000}) is None


def recipe(provider: Provider, **changes: CanonicalValue) -> dict[str, CanonicalValue]:
    (model, *_) = provider.models
    return {"kind": "image", "prompt": "a fox", "width": 1024, "height": 1024, "model": model, **changes}


def test_providers_answer_from_the_table() -> None:
    fal, openai = Fal(key="k", clock=FakeClock()), OpenAIImages(key="k", clock=FakeClock())
    painter = Painter(clock=FakeClock())
    assert fal.price_micro_usd(recipe(fal)) == fal.cost_micro_usd(recipe(fal), {"micro_units": 1_000_000}) == 3_000
    assert openai.cost_micro_usd(recipe(openai), {"text_in": 10, "image_in": 0, "out": 439}) == 50 + 439 * 30
    assert painter.price_micro_usd(recipe(painter)) == painter.cost_micro_usd(recipe(painter), {}) == 0
    for provider in (fal, openai):
        assert provider.price_micro_usd(recipe(provider, model="nobody")) is None
        assert provider.cost_micro_usd(recipe(provider, model="nobody"), {"micro_units": 1, "out": 1}) is None
        assert provider.cost_micro_usd(recipe(provider), {}) is None


@pytest.mark.parametrize(
    ("micro_usd", "shown"),
    [
        *((0, "$0.00"), (10_000, "$0.01"), (500_000, "$0.50"), (2_500_000, "$2.50"), (5_000_000, "$5.00")),
        *((3_000, "$0.003"), (5, "$0.000005"), (52_680, "$0.05268"), (999_999_999_999_999, "$999999999.999999")),
        *((-3_000, "-$0.003"), (-2_500_000, "-$2.50"), (-1, "-$0.000001")),
    ],
)
def test_amounts_are_exact_and_whole_cents_have_two_digits(micro_usd: int, shown: str) -> None:
    assert prices.dollars(micro_usd) == shown
