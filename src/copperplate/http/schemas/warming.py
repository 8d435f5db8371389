"""Warming as answers have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field

from copperplate.http.batches import MAX_ITEMS
from copperplate.http.warming import MAX_USD
from copperplate.operations.popular import DEFAULT_TOP, MAX_DAYS, MAX_TOP
from copperplate.prices import MICRO

if TYPE_CHECKING:
    from copperplate.http.warming import WarmingRequest


class WarmAnswer(BaseModel):
    """What warming comes to. A warmed picture costs what its first request would have cost."""

    success: bool
    dry_run: bool
    pictures: int = Field(description="Generations that were asked for, each once")
    duplicates: int = Field(description="Items whose generation another item had asked for")
    existing: int
    missing: int
    left_out: int = Field(description="Of the missing: those that `max_usd` does not pay")
    cost_usd: float = Field(description="What the others cost by the price table")
    unknown_prices: int = Field(description="How many of them have no known price; `cost_usd` is without them")
    booked_usd: float = Field(description="What budgets are asked for: those count as the dearest model's")
    seconds: int | None = Field(description="Roughly how long that takes; null where it is not known")
    requests_to_break_even: int = Field(description="So many distinct pictures must be asked for, or some were in vain")
    batch: str | None = Field(description="`GET /api/batches/{id}`; null for a dry run, and where nothing is left")
    events: str | None = Field(description="Where its progress is streamed: `text/event-stream`")

    @classmethod
    def of(cls, warming: WarmingRequest, *, is_dry_run: bool, in_flight: int, base: str) -> Self:
        """What its caller is told; `base` is this server's origin."""
        plan, chosen = warming.plan, len(warming.plan.chosen)
        return cls(
            success=True,
            dry_run=is_dry_run,
            pictures=warming.pictures,
            duplicates=warming.duplicates,
            existing=plan.existing,
            missing=plan.missing,
            left_out=len(plan.left_out),
            cost_usd=plan.cost_micro_usd / MICRO,
            unknown_prices=plan.unpriced,
            booked_usd=plan.booked_micro_usd / MICRO,
            seconds=plan.seconds(in_flight),
            requests_to_break_even=chosen,
            batch=None if warming.batch is None else str(warming.batch),
            events=None if warming.batch is None else f"{base}/api/batches/{warming.batch}/events",
        )


def warm_schema() -> dict[str, Any]:
    """The body that asks for warming."""
    many = {"type": ["array", "null"], "minItems": 1, "maxItems": MAX_ITEMS}
    whole, text = {"type": ["integer", "null"], "minimum": 1}, {"type": ["string", "null"]}
    popular = "What was asked for most in so many days; needs the scope `admin` as well"
    return {
        "title": "WarmBody",
        "type": "object",
        "additionalProperties": False,
        "description": "What is to be warmed: one of `items`, `prompts` and `popular_days`.",
        "properties": {
            "items": {**many, "items": {"$ref": "#/components/schemas/BatchImageItem"}},
            "prompts": {**many, "items": {"type": "string"}},
            "popular_days": {**whole, "maximum": MAX_DAYS, "description": popular},
            "top": {**whole, "maximum": MAX_TOP, "description": f"So many of them; {DEFAULT_TOP} unless said"},
            "dimensions": {**text, "description": "Of images that name no size; `1024x1024` unless said"},
            "format": {**text, "description": "Of images that name none; `jpg` unless said"},
            "model": {**text, "description": "Of images that name none"},
            "dry_run": {"type": ["boolean", "null"], "description": "Only say what it would come to"},
            "max_usd": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": MAX_USD,
                "description": "As many of the missing as so many dollars pay",
            },
        },
        "example": {"prompts": ["A red fox", "A lighthouse"], "dimensions": "1024x1024", "max_usd": 0.5},
    }
