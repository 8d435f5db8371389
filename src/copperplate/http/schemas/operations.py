"""Health, readiness and the cleanup."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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


class _ByKind(BaseModel):
    """Pictures by kind, each under its name for several; a kind that is added later has its count as well."""

    model_config = ConfigDict(extra="allow")


class Work(BaseModel):
    """What one step of work did with pictures that were promised and that nobody waited for."""

    made: int = Field(description="Pictures that are there now")
    failed: int = Field(description="Those that failed for good; who asked is told why")
    put_back: int = Field(description="Those that a later step makes: refused for a while, or out of time")


class WorkAnswer(Work):
    """What this step did."""

    success: bool


class CleanupAnswer(_ByKind):
    """What one cleanup did."""

    success: bool
    images: int = Field(description="Pictures not served for 30 days")
    memoji: int = Field(description="Memoji of more than 90 days with fewer than 2 uses")
    processed_pictures: int = Field(description="Processed pictures not used for 30 days")
    archived: int = Field(description="Memoji with more than 100 uses, kept for good from now on")
    generations: int = Field(description="Generations that nothing needs any more")
    swept: int = Field(description="Generations whose leader died and nobody asked for since")
    objects: int = Field(description="Objects removed from the store, an hour or more after their last use")
    orphans: int = Field(description="Objects that no row names, found by listing the store; removed after an hour")
    odd: int = Field(description="What lies among the objects and is none of ours; left where it is")
    placeholders: int = Field(description="Pictures without a placeholder that got one, at most 50 by one run")
    placeholders_left: int | None = Field(description="Pictures that have none yet; null: not known")
    bytes: int = Field(description="Bytes of the pictures and originals that went")
    seconds: float
    is_complete: bool = Field(description="False: the time of one run was over, or a store did not answer")
    work: Work | None = Field(
        description="Promised pictures that were made afterwards; null: no answer of the database"
    )


class CleanupCount(_ByKind):
    """What cleanups would remove by and by; nothing was."""

    success: bool
    dry_run: bool
    images: int = Field(description="Pictures not served for 30 days")
    memoji: int = Field(description="Memoji of more than 90 days with fewer than 2 uses")
    processed_pictures: int = Field(description="Processed pictures not used for 30 days")
    archived: int = Field(description="Memoji with more than 100 uses")
    generations: int = Field(description="Generations that would go with their last picture")
    bytes: int = Field(description="Bytes of the pictures and originals")
    placeholders_left: int = Field(description="Pictures that have no placeholder yet")
