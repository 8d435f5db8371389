"""Warming as answers have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from copperplate.prices import MICRO

if TYPE_CHECKING:
    from copperplate.http.warming import WarmingRequest


class WarmBody(BaseModel):
    """What is to be warmed: one of `items`, `prompts` and `popular_days`. For the document alone."""

    model_config = ConfigDict(extra="forbid")

    items: list[dict[str, Any]] | None = Field(
        None, min_length=1, max_length=1_000, description="As `POST /api/generate` takes them"
    )
    prompts: list[str] | None = Field(None, min_length=1, max_length=1_000)
    popular_days: int | None = Field(
        None, ge=1, le=365, description="What was asked for most in so many days; needs the scope `admin` as well"
    )
    top: int | None = Field(None, ge=1, le=1_000, description="So many of them; 100 unless said")
    dimensions: str | None = Field(None, examples=["1024x1024"], description="Of images that name no size")
    format: str | None = Field(None, examples=["jpg"], description="Of images that name none")
    model: str | None = Field(None, description="Of images that name none")
    dry_run: bool | None = Field(None, description="Only say what exists, what is missing and what it costs")
    max_usd: float | None = Field(None, ge=0, le=1_000_000, description="Make as many as so many dollars pay")


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
    def of(cls, warming: WarmingRequest, *, is_dry_run: bool, in_flight: int) -> Self:
        """What its caller is told."""
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
            events=None if warming.batch is None else f"/api/batches/{warming.batch}/events",
        )
