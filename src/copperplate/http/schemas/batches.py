"""Batches and their members, as answers and events have them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, Field

from copperplate.http.batches import MAX_ITEMS
from copperplate.http.failure_codes import detail_of, may_help_to_ask_anew
from copperplate.http.items import MAX_ECHO_CHARS, PRIORITIES
from copperplate.http.schemas.statistics import MICRO
from copperplate.operations.variants import MAX_VARIANTS
from copperplate.wishes import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.wishes import Batch, Canceled, Member

MemberStatus = Literal["pending", "generating", "completed", "failed", "canceled"]


class CountsOut(BaseModel):
    """How many members there are of each status."""

    pending: int = Field(description="Nothing was sent to a provider")
    generating: int
    completed: int
    failed: int
    canceled: int

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Every status, those of no member too."""
        return cls(**{state.value: batch.counts.get(state, 0) for state in State})


class MemberErrorOut(BaseModel):
    """Why a member has no picture."""

    code: str = Field(examples=["moderated"])
    detail: str
    retry: bool = Field(description="Whether the same picture may be had by asking anew later")

    @classmethod
    def of(cls, code: str) -> Self:
        """In words."""
        return cls(code=code, detail=detail_of(code), retry=may_help_to_ask_anew(code))


class MemberOut(BaseModel):
    """One generation of a batch, in every form that was asked for."""

    position: int = Field(description="From 0; two items of one generation are one member")
    key: str = Field(description="Of the generation: `GET /api/generations/{key}`")
    kind: str = Field(examples=["image"])
    status: MemberStatus
    url: str = Field(description="Of the first form that was asked for; it has the picture once this is completed")
    urls: list[str] = Field(description="Of every form that was asked for")
    cached: bool = Field(description="True: it was there before the batch, and costs nothing")
    error: MemberErrorOut | None = Field(description="Where it failed")
    thread_id: str | None = Field(description="As it was sent, like `style` and `title`")
    style: str | None
    title: str | None

    @classmethod
    def of(cls, member: Member, *, base: str) -> Self:
        """As it is now; `base` is this server's origin."""
        urls = [base + path for path in member.paths]
        return cls(
            position=member.position,
            key=member.generation_key,
            kind=member.kind,
            status=member.state.value,
            url=urls[0],
            urls=urls,
            cached=member.cached,
            error=None if member.code is None else MemberErrorOut.of(member.code),
            thread_id=member.echo.get("thread_id"),
            style=member.echo.get("style"),
            title=member.echo.get("title"),
        )


class BatchOut(BaseModel):
    """A batch as it is now."""

    id: str = Field(description="Cannot be guessed: whoever has it may look, unless the batch has memoji")
    status: Literal["pending", "generating", "completed", "canceled"] = Field(
        description="`completed`: every member has ended, failed ones too. `canceled`: members may still be under way"
    )
    thread_id: str | None
    created_at: datetime
    canceled_at: datetime | None
    total: int = Field(description="How many members it has")
    cached: int = Field(description="How many were there before it")
    counts: CountsOut
    estimate_usd: float | None = Field(description="What the others cost at most; null where a price is not known")
    events: str | None = Field(
        description="Where its progress is streamed, `text/event-stream`; with memoji it can be opened for ten "
        "minutes, and is null where it cannot be opened now: look again"
    )

    @classmethod
    def of(cls, batch: Batch, *, events: str | None) -> Self:
        """Without its members; `events` is where they are streamed."""
        estimate = batch.estimate_micro_usd
        return cls(
            id=str(batch.id),
            status=status_of(batch),
            thread_id=batch.thread_id,
            created_at=batch.created_at,
            canceled_at=batch.canceled_at,
            total=batch.total,
            cached=batch.cached,
            counts=CountsOut.of(batch),
            estimate_usd=None if estimate is None else estimate / MICRO,
            events=events,
        )


class BatchAnswer(BatchOut):
    """A batch that was kept. Its members are at `Location`."""

    success: bool
    duplicates: int = Field(description="Items whose generation another item had asked for already")

    @classmethod
    def kept(cls, batch: Batch, *, duplicates: int, events: str | None) -> Self:
        """What its maker is told."""
        return cls(success=True, duplicates=duplicates, **BatchOut.of(batch, events=events).model_dump())


class BatchPage(BatchOut):
    """A batch and some of its members, in their order."""

    success: bool
    members: list[MemberOut]
    next_after: int | None = Field(description="`?after=` of the next page; null on the last one")

    @classmethod
    def page(cls, batch: Batch, members: Sequence[Member], *, base: str, events: str | None) -> Self:
        """These members; `base` is this server's origin."""
        last = members[-1].position if members else batch.total
        return cls(
            success=True,
            members=[MemberOut.of(member, base=base) for member in members],
            next_after=last if last + 1 < batch.total else None,
            **BatchOut.of(batch, events=events).model_dump(),
        )


class CanceledAnswer(BaseModel):
    """What canceling changed."""

    success: bool
    id: str
    status: Literal["completed", "canceled"] = Field(description="`completed`: it had ended, and is not changed")
    withdrawn: int = Field(description="Members that nobody makes for this batch any more")
    under_way: int = Field(description="Members that are paid for and go on")
    saved_usd: float = Field(description="What the withdrawn cost, but for those that somebody else has asked for")

    @classmethod
    def of(cls, batch: Batch, canceled: Canceled) -> Self:
        """What its owner is told; `batch` is as it was found before."""
        is_canceled = batch.canceled_at is not None or canceled.withdrawn + canceled.under_way > 0
        return cls(
            success=True,
            id=str(batch.id),
            status="canceled" if is_canceled else "completed",
            withdrawn=canceled.withdrawn,
            under_way=canceled.under_way,
            saved_usd=canceled.saved_micro_usd / MICRO,
        )


def status_of(batch: Batch) -> Literal["pending", "generating", "completed", "canceled"]:
    """One word for all members."""
    if batch.canceled_at is not None:
        return "canceled"
    if batch.is_final:
        return "completed"
    # What was there before it says nothing of what has begun.
    return "pending" if batch.counts.get(State.PENDING, 0) + batch.cached == batch.total else "generating"


def batch_schemas(image: dict[str, Any]) -> dict[str, Any]:
    """By name, the schemas of the body that asks for a batch; `image` is that of a single image."""
    number = {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_VARIANTS}
    several = {"n": {**number, "description": "So many variants, by seeds: none, 1, and so on to n - 1"}}
    items = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("BatchImageItem", "MemojiItem")]}
    return {
        "BatchImageItem": {**image, "title": "BatchImageItem", "properties": {**image["properties"], **several}},
        "BatchOfItems": {
            "title": "BatchOfItems",
            "type": "object",
            "additionalProperties": False,
            "required": ["items"],
            "properties": {
                "items": {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": items},
                "priority": {"type": ["string", "null"], "enum": [*PRIORITIES, None], "description": "Else `low`"},
                "thread_id": {"type": ["string", "null"], "maxLength": MAX_ECHO_CHARS, "description": "Told again"},
            },
            "example": {"items": [{"prompt": "A red fox", "n": 3}, {"prompt": "A lighthouse", "title": "Dusk"}]},
        },
    }
