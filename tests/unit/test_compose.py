"""Who makes pictures, for which settings."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.compose import make_provider, open_services
from copperplate.compose.services import _make_kinds, _running
from copperplate.compose.tiers import make_tiers
from copperplate.errors import Misconfigured
from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.recipes.kinds import BUCKETS, KINDS
from copperplate.services import require_provider
from copperplate.settings import Settings
from tests.support.copies import copy_of
from tests.support.feeds import read_feed
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from copperplate.ports import Provider


def provider_for(**environment: str) -> Provider:
    return require_provider("image", make_provider("image", Settings.from_env(environment), FakeClock()))


@pytest.mark.parametrize(
    ("environment", "name", "model"),
    [
        ({}, "painter", "copperplate/painter-1"),
        ({"FAL_KEY": "k"}, "fal", "fal-ai/flux/schnell"),
        ({"FAL_KEY": "k", "COPPERPLATE_IMAGE_MODEL": "fal-ai/flux/dev"}, "fal", "fal-ai/flux/dev"),
        ({"FAL_KEY": "k", "COPPERPLATE_PROVIDER": "painter"}, "painter", "copperplate/painter-1"),
        ({"OPENAI_API_KEY": "k"}, "painter", "copperplate/painter-1"),  # it makes pictures when named
        ({"OPENAI_API_KEY": "k", "COPPERPLATE_PROVIDER": "openai"}, "openai", "gpt-image-2.5-flare"),
        ({"OPENAI_API_KEY": "k", "FAL_KEY": "k", "COPPERPLATE_PROVIDER": "openai"}, "openai", "gpt-image-2.5-flare"),
        ({"VERCEL": "1", "FAL_KEY": "k"}, "fal", "fal-ai/flux/schnell"),
        ({"VERCEL": "1", "COPPERPLATE_PROVIDER": "painter"}, "painter", "copperplate/painter-1"),
    ],
)
def test_provider_is_the_one_named_or_the_one_with_a_key(environment: dict[str, str], name: str, model: str) -> None:
    provider = provider_for(**environment)
    assert (provider.name, provider.models) == (name, (model,))


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"COPPERPLATE_PROVIDER": "fal"}, "FAL_KEY"),
        ({"COPPERPLATE_PROVIDER": "openai", "FAL_KEY": "k"}, "OPENAI_API_KEY"),
        ({"VERCEL": "1"}, "FAL_KEY"),
        ({"SUPABASE_URL": "https://x.supabase.co"}, "FAL_KEY"),
        ({"FAL_KEY": "k", "COPPERPLATE_IMAGE_MODEL": "gpt-image-2"}, "COPPERPLATE_IMAGE_MODEL"),
        (
            {"OPENAI_API_KEY": "k", "COPPERPLATE_PROVIDER": "openai", "COPPERPLATE_IMAGE_MODEL": "dall-e-3"},
            "gpt-image-2.5-flare",
        ),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], variable: str) -> None:
    with pytest.raises(Misconfigured, match=variable):
        provider_for(**environment)


@pytest.mark.parametrize(("extra", "module"), [("fal", "fal_client"), ("openai", "openai")])
def test_extra_that_is_not_installed_is_named(extra: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else object())
    with pytest.raises(Misconfigured, match=rf"copperplate\[{extra}\]"):
        provider_for(FAL_KEY="k", OPENAI_API_KEY="k", COPPERPLATE_PROVIDER=extra)


@pytest.mark.parametrize("name", ["fal", "openai"])
def test_choosing_a_provider_loads_neither_its_sdk_nor_httpx(name: str) -> None:
    program = (
        "import sys; from copperplate.adapters.system_clock import SystemClock\n"
        "from copperplate.compose import make_provider; from copperplate.settings import Settings\n"
        f"env = dict(FAL_KEY='k', OPENAI_API_KEY='k', COPPERPLATE_PROVIDER={name!r})\n"
        "provider = make_provider('image', Settings.from_env(env), SystemClock())\n"
        "provider.settings(provider.models[0])\n"
        "print([name for name in ('openai', 'fal_client', 'httpx', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("failing", [None, "coordinator", "provider", "verifier"])
async def test_everything_that_was_opened_is_closed_at_the_end_whatever_fails(
    failing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    def note(name: str) -> Callable[..., Any]:
        async def noted(*_: object, **__: object) -> None:
            closed.append(name)
            if name == failing:
                raise OSError("it cannot be closed")

        return noted

    settings = Settings.from_env({"OPENAI_API_KEY": "k", "COPPERPLATE_PROVIDER": "painter"})
    clock = FakeClock()
    stores = {bucket: MemoryStore(bucket, clock) for bucket in BUCKETS}
    async with _running(settings, cast(Any, MemoryLedger(clock)), stores) as services:
        pass
    monkeypatch.setattr(type(services.coordinator), "shut_down", note("coordinator"))
    for kind in services.kinds.values():
        monkeypatch.setattr(type(kind.provider), "close", note("provider"))
    monkeypatch.setattr(type(services.verifier), "close", note("verifier"))
    monkeypatch.setattr(type(services.request_meter), "close", note("meter"))
    with contextlib.nullcontext() if failing is None else pytest.raises(OSError, match="cannot be closed"):
        async with _running(settings, cast(Any, MemoryLedger(clock)), stores):
            pass
    assert closed == ["coordinator", *["provider"] * len(KINDS), "verifier", "meter"]


@pytest.mark.parametrize(("setting", "is_open"), [("0", False), ("1", True)])
async def test_the_web_is_opened_for_pictures_by_address_only_where_the_owner_says_so(
    setting: str, is_open: bool
) -> None:
    variables = {"OPENAI_API_KEY": "k", "COPPERPLATE_PROVIDER": "painter", "COPPERPLATE_PROCESS_URLS": setting}
    clock = FakeClock()
    stores = {bucket: MemoryStore(bucket, clock) for bucket in BUCKETS}
    async with _running(Settings.from_env(variables), cast(Any, MemoryLedger(clock)), stores) as services:
        fetches = services.processing.sources._fetches
        assert (fetches is not None) is is_open
    if fetches is not None:
        web = cast(Any, fetches._web)
        assert (web._ports, web._schemes, web._client.is_closed) == ((443,), ("https",), True)


def test_callers_wait_for_a_memoji_four_times_as_long_as_for_an_image_and_twice_for_a_processed_picture() -> None:
    settings = Settings.from_env({"OPENAI_API_KEY": "k", "COPPERPLATE_WAIT_SECONDS": "7"})
    clock = FakeClock()
    stores = {bucket: MemoryStore(bucket, clock) for bucket in BUCKETS}
    kinds = _make_kinds(settings, clock, stores)
    waits = {"image": None, "memoji": timedelta(seconds=28), "processed": timedelta(seconds=14)}
    assert {name: kind.wait for name, kind in kinds.items()} == waits


@pytest.mark.parametrize(("module", "extra"), [("PIL", "images"), ("psycopg_pool", "postgres")])
async def test_extra_that_is_missing_is_named_before_anybody_asks_for_a_picture(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Misconfigured, match=rf"pip install 'copperplate\[{extra}\]'"):
        async with open_services(Settings.from_env({"DATABASE_URL": "postgresql:///x?host=/nowhere"})):
            pytest.fail("it was opened")


async def test_private_pictures_lie_in_no_disk_cache(tmp_path: Path) -> None:
    settings = Settings.from_env({"COPPERPLATE_DISK_CACHE_DIR": str(tmp_path)})
    tiers = make_tiers(settings, MemoryLedger(FakeClock()), FakeClock())
    await read_feed(tiers.coherence)
    fill = tiers.begin_fill()
    assert fill is not None
    for kind in KINDS:
        request, copy = replace(picture_request(), kind=kind), copy_of(kind)
        entry = replace(copy.entry, kind=kind, key=request.rendition_key, generation_key=request.generation_key)
        tiers.keep(request, LookupResult(entry=entry, outcome=Outcome.HIT, body=copy.body, fill=fill))
        await tiers.shut_down(within_seconds=5)
        is_kept = bool(list(tmp_path.glob(f"*/{request.rendition_key}-*")))
        assert (is_kept, await tiers.find(request) is not None) == (KINDS[kind].is_public,) * 2, kind
        await tiers.drop(entry)
    await tiers.close()


@pytest.mark.parametrize(
    ("environ", "parent"),
    [
        ({"DATABASE_URL": "postgresql:///x"}, "off"),
        ({"SUPABASE_URL": "https://x.supabase.co", "COPPERPLATE_DISK_CACHE_MB": "0"}, "off"),
        ({"SUPABASE_URL": "https://x.supabase.co", "COPPERPLATE_DATA_DIR": "DATA"}, "DATA"),
        ({"DATABASE_URL": "postgresql:///x", "COPPERPLATE_DISK_CACHE_DIR": "DISK"}, "DISK"),
        ({"SUPABASE_URL": "https://x.supabase.co", "VERCEL": "1", "COPPERPLATE_DATA_DIR": "DATA"}, "TEMPORARY"),
    ],
    ids=["a local store", "0 MB", "Supabase", "asked for", "Vercel"],
)
async def test_copies_on_disk_lie_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], parent: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "TEMPORARY"))
    settings = replace(Settings.from_env(environ), memory_pictures=0)
    tiers = make_tiers(settings, MemoryLedger(FakeClock()), FakeClock())
    await read_feed(tiers.coherence)
    copy, request = copy_of("x"), picture_request()
    entry = replace(copy.entry, key=request.rendition_key, generation_key=request.generation_key)
    found = LookupResult(entry=entry, outcome=Outcome.HIT, body=copy.body, fill=tiers.begin_fill())
    tiers.keep(request, found)
    await tiers.shut_down(within_seconds=5)
    kept = [file.relative_to(tmp_path).parts[0] for file in tmp_path.glob(f"*/*/{entry.key}-*")]
    assert kept == ([] if parent == "off" else [parent])
    await tiers.close()


def test_redis_is_loaded_only_where_a_server_is_set() -> None:
    script = (
        "import sys; from copperplate.http.app import create_app; from copperplate.compose.tiers import make_tiers\n"
        "from copperplate.adapters.memory.ledger import MemoryLedger; from copperplate.settings import Settings\n"
        "from copperplate.adapters.system_clock import SystemClock\n"
        "for environ in ({}, {'REDIS_URL': 'redis://h', 'COPPERPLATE_REDIS_SECONDS': '0'}, {'REDIS_URL': 'redis://h'}):\n"
        "    make_tiers(Settings.from_env(environ), MemoryLedger(SystemClock()), SystemClock())\n"
        "    print('redis' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["False", "False", "True"]
