"""Explanations of keys."""

from __future__ import annotations

from pydantic import BaseModel, Field


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
    canvas: str = Field(description="The size that is made and paid for")
    rungs: dict[str, str] = Field(description="What display parameters went up to", examples=[{"w": "640"}])
    size: str = Field(description="The size of the picture that is answered")
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
