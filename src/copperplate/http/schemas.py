"""The shapes of JSON answers, as OpenAPI shows them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Row(BaseModel):
    """A row of the ledger; later versions of the schema may add columns."""

    model_config = ConfigDict(extra="allow")


class GenerationStats(_Row):
    """One row of `get_generation_stats()`; days are UTC."""

    total_requests: int = Field(description="Requests for pictures that reached us")
    total_api_calls_made: int = Field(description="Billable calls to providers")
    total_api_calls_saved: int = Field(description="Requests less calls")
    total_completed: int
    total_failed: int
    total_hits: int
    total_misses: int
    efficiency_percent: float | None = Field(description="Hits out of hits and misses; null before the first request")
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


class CacheStatsAnswer(BaseModel):
    """What is kept, and how often it was served."""

    success: bool
    stats: CacheStats


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
    explanation: ExplanationOut
    other: ExplanationOut | None = None
    comparison: ComparisonOut | None = None


class Health(BaseModel):
    """`ok`: the process answers. `ready`: database and object store do too."""

    status: str = Field(examples=["ok"])


class CleanupAnswer(BaseModel):
    """What one cleanup did."""

    success: bool
    images: int = Field(description="Pictures not served for 30 days")
    generations: int = Field(description="Generations that nothing needs any more")
    swept: int = Field(description="Generations whose leader died and nobody asked for since")
    objects: int = Field(description="Objects removed from the store, an hour or more after their last use")
    orphans: int = Field(description="Objects that no row names, found by listing the store; removed after an hour")
    bytes: int = Field(description="Bytes of the pictures and originals that went")
    seconds: float
    is_complete: bool = Field(description="False: the time of one run was over, or a store did not answer")


class ProblemOut(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:copperplate:error:invalid_size"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable and machine-readable", examples=["invalid_size"])
