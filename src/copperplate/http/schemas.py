"""The shapes of JSON answers, as OpenAPI shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.accounts.user_requests import Delivered, Failed
    from copperplate.ports import statistics


MICRO: Final = 1_000_000


class _Row(BaseModel):
    """A row of the ledger; later versions of the schema may add columns."""

    model_config = ConfigDict(extra="allow")


class GenerationStats(_Row):
    """One row of `get_generation_stats()`; days are UTC."""

    total_requests: int = Field(description="Requests for pictures that reached us")
    total_api_calls_made: int = Field(description="Billable calls to providers")
    total_api_calls_saved: int = Field(description="Pictures served without a call; a failed request saves none")
    total_completed: int
    total_failed: int
    total_hits: int
    total_misses: int
    efficiency_percent: float | None = Field(description="Saved calls out of pictures served; null before the first")
    requests_today: int
    api_calls_made_today: int
    api_calls_saved_today: int
    completed_today: int
    failed_today: int
    hits_today: int
    misses_today: int


class GenerationStatsAnswer(BaseModel):
    """How many calls to providers were made, and how many were saved."""

    success: bool
    stats: GenerationStats
    message: str = Field(examples=["Saved 9 API calls today!"])


class CacheStats(_Row):
    """One row of `get_cache_stats()`."""

    total_cached_images: int
    total_access_count: int = Field(description="Answers served from them, the first ones included")
    avg_access_count: float | None = Field(description="Null while there are no pictures")
    total_size_bytes: int = Field(description="Bytes of the pictures as served")
    total_stored_bytes: int = Field(description="Bytes in the object store, originals included")

    @classmethod
    def of(cls, row: statistics.KindStats) -> Self:
        """Those of the kind."""
        return cls(
            total_cached_images=row.pictures,
            total_access_count=row.accesses,
            avg_access_count=row.avg_accesses,
            total_size_bytes=row.size_bytes,
            total_stored_bytes=row.stored_bytes,
        )


class Savings(BaseModel):
    """What pictures of one kind cost and saved. Money in dollars, exact to a millionth."""

    served: int = Field(description="Pictures served")
    saved: int = Field(description="Pictures served without a call to the provider")
    efficiency_percent: float | None = Field(description="Saved out of served; null before the first picture")
    spent_usd: float = Field(description="What calls cost; estimated where there is no bill")
    estimated_calls: int = Field(description="Calls without a bill: in `spent_usd` with what they cost at most")
    estimated_savings_usd: float = Field(description="What the saved ones would have cost, each at its picture's price")
    unpriced_calls: int = Field(description="Calls whose price is not known: not in `spent_usd`")
    unpriced_saved: int = Field(description="Saved ones whose price is not known: not in `estimated_savings_usd`")

    @classmethod
    def of(cls, rows: Iterable[statistics.Savings]) -> dict[str, Self]:
        """All kinds, by name."""
        return {
            row.kind: cls(
                served=row.served,
                saved=row.saved,
                efficiency_percent=row.efficiency_percent,
                spent_usd=row.spent_micro_usd / MICRO,
                estimated_savings_usd=row.saved_micro_usd / MICRO,
                estimated_calls=row.estimated,
                unpriced_calls=row.unpriced,
                unpriced_saved=row.unpriced_saved,
            )
            for row in rows
        }


class MemojiStats(BaseModel):
    """The same of memoji, and what they saved. Money in dollars, exact to a millionth."""

    total_memoji: int
    total_usage: int = Field(description="Answers that gave a memoji's address, the first ones included")
    average_usage: float | None = Field(description="Null while there are no memoji")
    total_size_bytes: int
    efficiency_percent: float | None = Field(description="Saved calls out of memoji served; null before the first")
    estimated_savings_usd: float = Field(description="What memoji served without a call would have cost")

    @classmethod
    def of(cls, row: statistics.KindStats) -> Self:
        """Those of the kind."""
        return cls(
            total_memoji=row.pictures,
            total_usage=row.accesses,
            average_usage=row.avg_accesses,
            total_size_bytes=row.size_bytes,
            efficiency_percent=row.efficiency_percent,
            estimated_savings_usd=row.saved_micro_usd / MICRO,
        )


class CacheStatsAnswer(BaseModel):
    """What is kept, and how often it was served."""

    success: bool
    stats: CacheStats
    memoji: MemojiStats
    savings: dict[str, Savings] = Field(description="By kind of picture: `image` and `memoji`")


class MemojiAnswer(BaseModel):
    """Where a memoji is."""

    success: bool
    cached: bool = Field(description="True: it was there, and cost nothing")
    url: str = Field(description="Where anyone can load the picture, a PNG")
    key: str = Field(description="SHA-256 of the normalised configuration: `prompt_hash` in public.memoji_cache")
    credits: int = Field(description="Credits left when this was first answered")

    @classmethod
    def of(cls, delivered: Delivered) -> Self:
        """As it was delivered."""
        return cls(
            success=True,
            cached=delivered.cached,
            url=delivered.url,
            key=delivered.key,
            credits=delivered.credits,
        )


class PendingAnswer(BaseModel):
    """A memoji is being made; ask for it at `Location`."""

    success: bool
    status: Literal["generating"]
    key: str


class GenerationError(BaseModel):
    """Why a generation came to nothing."""

    code: str = Field(examples=["moderated"])
    detail: str
    retry_after_seconds: int = Field(description="Asking anew before this changes nothing")

    @classmethod
    def of(cls, failed: Failed) -> Self:
        """As the ledger remembers it."""
        return cls(
            code=failed.failure_class.value,
            detail=failed.failure_class.public_message,
            retry_after_seconds=round(failed.retry_after.total_seconds()),
        )


class GenerationAnswer(BaseModel):
    """What became of a generation."""

    success: bool
    status: Literal["generating", "completed", "failed"]
    key: str
    url: str | None = Field(default=None, description="Once it is completed")
    error: GenerationError | None = Field(default=None, description="Where it failed")


class CreditsOut(BaseModel):
    """Credits of one account."""

    balance: int
    held: int = Field(description="Reserved by pictures under way")
    available: int = Field(description="The rest, which can be spent")


class CreditsAnswer(BaseModel):
    """The credits of whoever is signed in."""

    success: bool
    credits: CreditsOut


class ExplanationOut(BaseModel):
    """Every step from one request to its two keys, in order."""

    path: str
    query: str
    parameters: list[str]
    parameters_used: list[str]
    parameters_ignored: list[str]
    text_decoded: str
    text_composed: str = Field(description="In NFC")
    text_folded: str = Field(description="Runs of white space as one space, trimmed")
    size: str
    format: str
    defaults: dict[str, str] = Field(description="What was filled in")
    generation_recipe: str = Field(description="Canonical JSON; its UTF-8 bytes are hashed")
    generation_key: str = Field(description="SHA-256: what the provider is paid for")
    rendition_recipe: str
    rendition_key: str = Field(description="SHA-256: `prompt_hash` in public.image_cache")
    sql: str


class MemojiExplanationOut(BaseModel):
    """Every step from a memoji's configuration to its keys, in order."""

    configuration: str = Field(description="As it was given, in JSON")
    respelled: dict[str, str] = Field(description="What was given in another spelling than the one that counts")
    defaults: dict[str, str] = Field(description="What was filled in")
    prompt: str = Field(description="What a provider is told")
    generation_recipe: str = Field(description="Canonical JSON; its UTF-8 bytes are hashed")
    generation_key: str = Field(description="SHA-256: `prompt_hash` in public.memoji_cache")
    rendition_recipe: str
    rendition_key: str = Field(description="SHA-256: the stored object's")
    sql: str


class DifferenceOut(BaseModel):
    """One field in which two recipes differ; null where one has no such field."""

    field: str
    first: str | bool | int | list[str] | None
    second: str | bool | int | list[str] | None
    detail: str


class ComparisonOut(BaseModel):
    """Why two requests differ, or that they do not."""

    is_same_generation: bool
    is_same_rendition: bool
    verdict: str
    differences: list[DifferenceOut]


class ExplainAnswer(BaseModel):
    """One request explained, or two and what makes them differ."""

    success: bool
    explanation: ExplanationOut | MemojiExplanationOut
    other: ExplanationOut | MemojiExplanationOut | None = None
    comparison: ComparisonOut | None = None


class Health(BaseModel):
    """`ok`: the process answers."""

    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    """`ready`: database and object store answer too."""

    status: str = Field(examples=["ready"])
    pooler: str | None = Field(
        default=None,
        description="The mode that the pooler in front of the database is taken to be in, where one was found",
        examples=["transaction"],
    )


class CleanupAnswer(BaseModel):
    """What one cleanup did."""

    success: bool
    images: int = Field(description="Pictures not served for 30 days")
    memoji: int = Field(description="Memoji of more than 90 days with fewer than 2 uses")
    archived: int = Field(description="Memoji with more than 100 uses, kept for good from now on")
    generations: int = Field(description="Generations that nothing needs any more")
    swept: int = Field(description="Generations whose leader died and nobody asked for since")
    objects: int = Field(description="Objects removed from the store, an hour or more after their last use")
    orphans: int = Field(description="Objects that no row names, found by listing the store; removed after an hour")
    odd: int = Field(description="What lies among the objects and is none of ours; left where it is")
    bytes: int = Field(description="Bytes of the pictures and originals that went")
    seconds: float
    is_complete: bool = Field(description="False: the time of one run was over, or a store did not answer")


class CleanupCount(BaseModel):
    """What cleanups would remove by and by; nothing was."""

    success: bool
    dry_run: bool
    images: int = Field(description="Pictures not served for 30 days")
    memoji: int = Field(description="Memoji of more than 90 days with fewer than 2 uses")
    archived: int = Field(description="Memoji with more than 100 uses")
    generations: int = Field(description="Generations that would go with their last picture")
    bytes: int = Field(description="Bytes of the pictures and originals")


class ProblemOut(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:copperplate:error:invalid_size"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable and machine-readable", examples=["invalid_size"])
