"""The settings of tiers: copies of pictures nearer than the ledger and the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from copperplate.settings import formats
from copperplate.settings.fields import setting
from copperplate.settings.processing import ProcessingSettings

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSettings(ProcessingSettings):
    """What is kept in memory, on disk and in Redis, and for how long while the database does not answer."""

    memory_pictures: int = setting(
        "COPPERPLATE_MEMORY_PICTURES",
        formats.number,
        "50",
        "Pictures that each process keeps in memory, each size and format for itself; 0 keeps none. See "
        "[tiers](tiers.md#memory).",
    )
    memory_bytes: int = setting(
        "COPPERPLATE_MEMORY_MB",
        formats.megabytes,
        "64",
        "Megabytes that these may take in each process, counting 2 kB for each beside its bytes; 0 keeps none.",
    )
    memory_age: timedelta = setting(
        "COPPERPLATE_MEMORY_SECONDS",
        formats.positive_seconds,
        "3600",
        "How long a picture stays in memory: more than 0 and a day (86400) at most.",
    )
    stale: timedelta = setting(
        "COPPERPLATE_STALE_SECONDS",
        formats.seconds,
        "3600",
        "How long pictures in memory, on disk and in Redis are served while the database does not answer; 0 not at "
        "all, 86400 at most. What is purged meanwhile is served for as long.",
    )
    redis_url: str | None = setting(
        "REDIS_URL",
        formats.redis_url,
        None,
        "A server of Redis or Valkey in which processes on many machines keep entries, JSON without pictures: "
        "`redis://…`, or `rediss://…` with TLS. See [tiers](tiers.md#redis).",
        is_secret=True,
        example="rediss://default:PASSWORD@redis.example.com:6379",
    )
    redis_age: timedelta = setting(
        "COPPERPLATE_REDIS_SECONDS",
        formats.seconds,
        "7200",
        "How long an entry stays in Redis, 86400 at most; 0 keeps none there, also where `REDIS_URL` is set for "
        "something else.",
    )
    redis_prompts: bool = setting(
        "COPPERPLATE_REDIS_PROMPTS",
        formats.flag,
        "0",
        "1: entries in Redis say their prompt, too, for people who look at them. Whoever may read the server reads "
        "them.",
    )
    cdn: timedelta = setting(
        "COPPERPLATE_CDN_SECONDS",
        formats.seconds,
        "3600",
        "How long a CDN serves its copy of a picture without asking, 86400 at most; 0: it keeps none, and every hit is "
        "counted. A purge that does not reach it is late by as much. See [tiers](tiers.md#cdn).",
    )
    cdn_stale: timedelta = setting(
        "COPPERPLATE_CDN_STALE_SECONDS",
        formats.seconds,
        "60",
        "How much longer it may serve that copy while it asks for a new one (`stale-while-revalidate`); 0 is not at "
        "all, 86400 the most.",
    )
    disk_cache_dir: Path | None = setting(
        "COPPERPLATE_DISK_CACHE_DIR",
        Path,
        None,
        "Where a folder is made in which pictures are kept on disk, shared by the processes of a machine, of several "
        "deployments too, which never meet in it and share its bound. Unset, it is made where pictures are in "
        "Supabase: in `COPPERPLATE_DATA_DIR`, on Vercel in the temporary folder.",
    )
    disk_cache_bytes: int = setting(
        "COPPERPLATE_DISK_CACHE_MB",
        formats.megabytes,
        "256",
        "Megabytes that this folder may grow to, a sixteenth more with each process above four; 0 keeps nothing. A "
        "Vercel function has 500 in all.",
    )
