"""`copperplate doctor`: is everything there that a deployment needs, and what to do where it is not."""

from __future__ import annotations

import math
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from copperplate.access import shares
from copperplate.access.exposure import RESTS_ON, remarks_on
from copperplate.compose import cdns_of, make_provider, open_backend, open_services
from copperplate.compose.installed import check_installed
from copperplate.errors import CopperplateError, LedgerUnavailable, Misconfigured, PoolerExhausted
from copperplate.generation.lookup import LookupOptions
from copperplate.model import SCHEMA, Condition, Outcome, PictureFormat
from copperplate.recipes.image import image_request
from copperplate.recipes.kinds import BUCKETS, IMAGE, KINDS
from copperplate.recipes.objects import object_path, sha256_hex
from copperplate.schema_check import FOLDER, Schema
from copperplate.services import require_provider
from copperplate.settings import DOCS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.ports import Budgets, Clock, ObjectStore, Provider, Statistics
    from copperplate.settings import Settings

NO_KEY: Final = "0" * 64
SKEW_SECONDS: Final = 60
# A CDN that answers is told at once, and once more ten seconds later.
LATE_PURGE_SECONDS: Final = 60
MIN_POSTGRES: Final = 15
SIDE: Final = 64
NOT_LOOKED_AT: Final = "not looked at: mend the settings first"
PRIVATE_BUCKET: Final = "it is private: on Vercel pictures above 4 MB need a public one; change it in the dashboard"
PUBLIC_BUCKET: Final = (
    "it is public: whoever learns the name of one of its pictures can load it, and no taken-down one is safe from "
    "copies; make it private in the dashboard"
)
# Variables that say which database and which store.
PLACES: Final = {"DATABASE_URL", "SUPABASE_URL", "COPPERPLATE_LEDGER"}


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it. Never holds a secret."""

    what: str
    level: Level
    detail: str


async def examine(
    settings: Settings, clock: Clock, *, faults: Mapping[str, str] | None = None, generate: bool = False
) -> AsyncGenerator[Finding, None]:
    """Look at everything in turn, and go on with what works where something does not.

    `faults` are what is wrong with settings, by variable; each of these counts as unset. With `generate` a picture is
    made, paid for, served again and purged.
    """
    faults, is_fine = faults or {}, not faults
    for fault in faults.values():
        yield Finding(what="settings", level=Level.FAILED, detail=f"{fault}. See {DOCS}")
    # Without what was meant, it would be another database that is looked at.
    if faults.keys() & PLACES:
        yield Finding(what="database", level=Level.FAILED, detail=NOT_LOOKED_AT)
    else:
        # Closed in order where nobody reads on.
        async with aclosing(_examine_backend(settings, clock, faults)) as findings:
            async for finding in findings:
                is_fine &= finding.level is not Level.FAILED
                yield finding
    provider = _examine_provider(settings, clock)
    yield provider
    yield _examine_secret(settings)
    for finding in _examine_copies(settings):
        yield finding
    if settings.redis_url is not None:
        yield await _examine_redis(settings.redis_url)
    if generate and is_fine and provider.level is not Level.FAILED:
        yield await _examine_life(settings, clock)
    elif generate:
        yield Finding(what="miss and hit", level=Level.FAILED, detail="not tried: mend the above first")


async def _examine_backend(
    settings: Settings, clock: Clock, faults: Mapping[str, str]
) -> AsyncGenerator[Finding, None]:
    try:
        async with open_backend(settings) as (ledger, stores):
            try:
                setup, findings = await _examine_setup(settings, clock, ledger)
                for finding in findings:
                    yield finding
                if setup.get("schema", SCHEMA) == SCHEMA:
                    async for finding in _examine_objects(ledger):
                        yield finding
                yield await _examine_rights(ledger)
                if (outbox := await _examine_outbox(settings, clock, ledger)) is not None:
                    yield outbox
                for finding in await _examine_spending(settings, clock, ledger, faults):
                    yield finding
            except LedgerUnavailable as error:
                yield _failed("database", error)
            for store in stores.values():
                yield await _examine_store(settings, clock, store)
    except CopperplateError as error:
        yield _failed("database", error)


async def _examine_setup(
    settings: Settings, clock: Clock, ledger: Statistics
) -> tuple[Mapping[str, Any], list[Finding]]:
    """What the database is, if it can say so; raises `LedgerUnavailable`."""
    began = clock.monotonic()
    try:
        setup = await ledger.check_setup()
    except Misconfigured as error:
        return {}, [_failed("database", error)]
    version = _examine_version(settings, setup, clock.monotonic() - began)
    return setup, [version, *_examine_pooler(setup), _examine_migrations(setup), _examine_clock(setup, clock)]


def _examine_version(settings: Settings, setup: Mapping[str, Any], seconds: float) -> Finding:
    way = "DATABASE_URL" if settings.supabase_url is None or settings.ledger == "postgres" else "SUPABASE_URL"
    version = str(setup["postgres"])
    is_old = version.partition(".")[0].isdigit() and int(version.partition(".")[0]) < MIN_POSTGRES
    detail = f"Postgres {version} answers by {way} in {seconds * 1000:.0f} ms"
    return _finding("database", not is_old, detail, f"Postgres {version} is too old: use {MIN_POSTGRES} or newer")


def _examine_pooler(setup: Mapping[str, Any]) -> list[Finding]:
    """What is between this program and the database, where the ledger knows."""
    if "pooler" not in setup:
        return []
    pooler = setup["pooler"]
    if pooler is None:
        detail = "none was found: each connection has a session of its own"
    elif pooler["mode"] == "session":
        detail = f"found at {pooler['place']}, in session mode by COPPERPLATE_POOLER: a session for each connection"
    else:
        detail = (
            f"found at {pooler['place']}, taken to be in transaction mode: prepared statements and notifications off, "
            "role and time limits set in each transaction; COPPERPLATE_POOLER=session where it lends whole sessions"
        )
    return [Finding(what="pooler", level=Level.OK, detail=detail)]


def _examine_migrations(setup: Mapping[str, Any]) -> Finding:
    return _finding(
        "migrations",
        setup["schema"] == SCHEMA,
        f"the schema is that of {SCHEMA}",
        f"the schema is that of {setup['schema']}, this program's is {SCHEMA}: run `copperplate migrate` of the "
        "newer program, with DATABASE_URL set",
    )


def _examine_clock(setup: Mapping[str, Any], clock: Clock) -> Finding:
    skew = clock.now().timestamp() - float(setup["now"])
    return _finding(
        "clock",
        abs(skew) < SKEW_SECONDS,
        f"{abs(skew):.1f} s beside the database's",
        f"this machine's clock is {skew:+.0f} s off the database's: let NTP set it",
    )


async def _examine_objects(ledger: Statistics) -> AsyncIterator[Finding]:
    """What somebody changed or dropped by hand; raises `LedgerUnavailable`."""
    shipped = Schema.shipped()
    try:
        differences = shipped.compare(await ledger.describe_schema(shipped.public_names))
    except Misconfigured as error:
        detail = f"{error}. Where that changes nothing, run again what the last file of {FOLDER} says [{error.code}]"
        yield Finding(what="objects", level=Level.FAILED, detail=detail)
        return
    for difference in differences:
        level = Level.FAILED if difference.is_serious else Level.WARNING
        yield Finding(what="objects", level=level, detail=difference.detail)
    if not differences:
        detail = f"all {len(shipped.objects)} and their rights are as the migrations make them"
        yield Finding(what="objects", level=Level.OK, detail=detail)


async def _examine_rights(ledger: SqlLedger) -> Finding:
    """Every kind of call once, without a change."""
    try:
        await ledger.generation_stats()
        await ledger.purge(Condition(key=NO_KEY), 1, is_dry_run=True)
        await ledger.forget_discarded([])
        await ledger.list_budgets()
    except CopperplateError as error:
        return _failed("rights", error)
    return Finding(what="rights", level=Level.OK, detail="tables can be read and written as service_role")


async def _examine_outbox(settings: Settings, clock: Clock, ledger: Statistics) -> Finding | None:
    """Whether the CDNs that are set here are told what they are to forget; raises `LedgerUnavailable`."""
    cdns = cdns_of(settings)
    if not cdns:
        return None
    try:
        rows = [row for row in (await ledger.usage_totals()).cdn_purges if row.scope in cdns]
    except Misconfigured as error:
        return _failed("cdn purges", error)
    count, since = sum(row.purges for row in rows), min((row.since for row in rows), default=math.inf)
    if since > clock.now().timestamp() - LATE_PURGE_SECONDS:
        return Finding(what="cdn purges", level=Level.OK, detail="none waits for long")
    detail = (
        f"{count:,} CDN purges wait since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC: "
        "`copperplate work` tells the CDNs from here, and says what fails; sql/cdn_purges.sql lists them"
    )
    return Finding(what="cdn purges", level=Level.WARNING, detail=detail)


async def _examine_spending(
    settings: Settings, clock: Clock, budgets: Budgets, faults: Mapping[str, str]
) -> list[Finding]:
    """What a day may cost, and who may spend it; raises `LedgerUnavailable`."""
    billable = [provider.name for provider in _providers(settings, clock) if provider.is_billable]
    try:
        states = await budgets.read_budgets(shares.named(settings, ()))
    except Misconfigured as error:
        return [_failed("budget", error)]
    return [
        # What was not meant counts as unset: by defaults a server would seem to be open, or to have a wall.
        Finding(what=each.what, level=Level.FAILED, detail=NOT_LOOKED_AT)
        if faults.keys() & RESTS_ON[each.what]
        else Finding(what=each.what, level=Level.WARNING if each.is_warning else Level.OK, detail=each.detail)
        for each in remarks_on(settings, billable, states)
    ]


def _providers(settings: Settings, clock: Clock) -> Iterator[Provider]:
    """Of every kind of picture, those that are set and whole; the check of the provider says what is wrong with one."""
    for kind in KINDS:
        with suppress(CopperplateError):
            provider = make_provider(kind, settings, clock)
            if provider is not None:
                yield provider


async def _examine_store(settings: Settings, clock: Clock, store: ObjectStore) -> Finding:
    """It takes what it has to take, and a small object is written, read and removed."""
    what = store.bucket
    body = uuid4().bytes
    path = object_path(clock.now(), sha256_hex(body), NO_KEY, uuid4().hex, "png")
    try:
        await store.check(BUCKETS[store.bucket].needs)
        await store.put(path, body, media_type="image/png")
        is_same = await store.get(path) == body
        is_gone = path in await store.remove([path])
        is_remote = settings.supabase_url is not None
        warning = (await _remark_on_openness(store, path)) if is_remote else None
    except CopperplateError as error:
        return _failed(what, error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the reader has to know
        return Finding(what=what, level=Level.FAILED, detail=type(error).__name__)
    if not is_same or not is_gone:
        return Finding(what=what, level=Level.FAILED, detail="it does not give back what it is given")
    if warning is not None:
        return Finding(what=what, level=Level.WARNING, detail=warning)
    return Finding(what=what, level=Level.OK, detail="written, read and removed")


async def _remark_on_openness(store: ObjectStore, path: str) -> str | None:
    """What to say where a bucket of public pictures is private, or one of private pictures is public."""
    if not BUCKETS[store.bucket].is_public:
        return PUBLIC_BUCKET if await store.is_open() else None
    return PRIVATE_BUCKET if store.public_url(path) is None else None


def _examine_provider(settings: Settings, clock: Clock) -> Finding:
    try:
        provider = require_provider(IMAGE.name, make_provider(IMAGE.name, settings, clock))
    except CopperplateError as error:
        return _failed("provider", error)
    detail = f"{provider.name} with {provider.models[0]}"
    return Finding(
        what="provider",
        level=Level.OK,
        detail=f"{detail}; its key is set and was not tried: --generate does" if provider.is_billable else detail,
    )


def _examine_copies(settings: Settings) -> Iterator[Finding]:
    """What is in the way of copies on disk and of purges of a CDN; nothing where they are off, or all is well."""
    if settings.has_disk_cache:
        from copperplate.adapters.copy_folder import CopyFolder

        try:
            CopyFolder(settings.disk_cache_parent).check()
        except OSError as error:
            detail = f"no copies are kept on disk: {error}. Run this as the server's user, or chmod 700"
            yield Finding(what="disk", level=Level.WARNING, detail=detail)
    if settings.vercel_token is not None and settings.vercel_project_id is None:
        detail = "COPPERPLATE_VERCEL_TOKEN needs VERCEL_PROJECT_ID beside it: no purge reaches Vercel's CDN"
        yield Finding(what="cdn", level=Level.WARNING, detail=detail)


async def _examine_redis(url: str) -> Finding:
    """Pictures are served without it, and so slower than its owner thinks."""
    try:
        check_installed("redis", "redis")
        from copperplate.adapters.redis.check import check_server

        health = await check_server(url)
    except CopperplateError as error:
        return Finding(what="redis", level=Level.FAILED, detail=f"{error} [{error.code}]")
    level = Level.OK if health.advice is None else Level.WARNING
    return Finding(what="redis", level=level, detail="; ".join(filter(None, (health.detail, health.advice))))


def _examine_secret(settings: Settings) -> Finding:
    if settings.cron_secret is None:
        detail = "not set: the cleanup route is closed. Set CRON_SECRET, for instance to `openssl rand -hex 32`"
        return Finding(what="cron secret", level=Level.WARNING, detail=detail)
    return Finding(what="cron secret", level=Level.OK, detail="set")


async def _examine_life(settings: Settings, clock: Clock) -> Finding:
    """A picture nobody asked for before: made, served from the cache, purged."""
    try:
        async with open_services(settings) as services:
            provider = services.provider_of(IMAGE.name)
            request = image_request(
                prompt=f"a plain grey circle, test {uuid4().hex[:8]}",
                width=SIDE,
                height=SIDE,
                format=PictureFormat.PNG,
                model=provider.models[0],
                settings=provider.settings(provider.models[0]),
            )
            began = clock.monotonic()
            options = LookupOptions(permit=services.gate.permit_of_owner(request))
            first = await services.renditions.read(request, options)
            made_ms, began = (clock.monotonic() - began) * 1000, clock.monotonic()
            second = await services.renditions.read(request, options)
            hit_ms = (clock.monotonic() - began) * 1000
            await services.ledger.purge(Condition(key=request.generation_key), 1, is_dry_run=False)
    except CopperplateError as error:
        return _failed("miss and hit", error)
    is_right = (first.outcome, second.outcome) == (Outcome.GENERATED, Outcome.HIT)
    detail = f"made in {made_ms:.0f} ms, served again in {hit_ms:.0f} ms, purged"
    return _finding("miss and hit", is_right, detail, f"ended as {first.outcome}, then {second.outcome}")


def _finding(what: str, is_fine: bool, detail: str, otherwise: str) -> Finding:
    return Finding(what=what, level=Level.OK if is_fine else Level.FAILED, detail=detail if is_fine else otherwise)


def _failed(what: str, error: CopperplateError) -> Finding:
    advice = (
        ""
        if isinstance(error, Misconfigured | PoolerExhausted)
        else ": check that it runs, and the address in the settings"
    )
    return Finding(what=what, level=Level.FAILED, detail=f"{error or error.title}{advice} [{error.code}]")
