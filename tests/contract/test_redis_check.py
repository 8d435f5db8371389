"""What `copperplate doctor` says of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.system_clock import SystemClock
from copperplate.doctor import Finding, Level, examine
from copperplate.settings import Settings
from tests.support.slow_wire import slow_wire

if TYPE_CHECKING:
    from tests.support.valkey_server import Valkey

# The database is not looked at where its setting is faulty.
FAULTS = {"DATABASE_URL": "DATABASE_URL must be another one"}


async def _examine(url: str) -> Finding:
    settings = Settings.from_env({"REDIS_URL": url})
    [finding] = [each async for each in examine(settings, SystemClock(), faults=FAULTS) if each.what == "redis"]
    return finding


async def test_server_that_does_all_is_told_with_its_version(valkey: Valkey) -> None:
    finding = await _examine(valkey.url)
    assert finding.level is Level.OK, finding.detail
    assert f"Valkey {valkey.info('server')['valkey_version']} answers in" in finding.detail
    assert valkey.ask.dbsize() == 0


async def test_without_a_url_nothing_is_said() -> None:
    found = [each.what async for each in examine(Settings.from_env({}), SystemClock(), faults=FAULTS)]
    assert "redis" not in found


async def test_server_that_keeps_nothing_more_once_it_is_full_is_warned_of(own_valkey: Valkey) -> None:
    own_valkey.ask.config_set("maxmemory", "100mb")
    finding = await _examine(own_valkey.url)
    assert finding.level is Level.WARNING
    assert "maxmemory-policy" in finding.detail
    own_valkey.ask.config_set("maxmemory-policy", "allkeys-lru")
    assert (await _examine(own_valkey.url)).level is Level.OK


async def test_server_that_is_too_far_away_is_warned_of(valkey: Valkey) -> None:
    async with slow_wire(valkey.port) as wire:
        wire.delay_seconds = 0.1
        finding = await _examine(f"redis://127.0.0.1:{wire.port}")
        assert (finding.level, "counts as no answer" in finding.detail) == (Level.WARNING, True)
        wire.delay_seconds = 0.4
        assert "connecting takes 0." in (await _examine(f"redis://127.0.0.1:{wire.port}")).detail


async def test_server_that_refuses_is_named_without_its_password(own_valkey: Valkey) -> None:
    own_valkey.ask.config_set("requirepass", "right")
    finding = await _examine(f"redis://:wr0ng@127.0.0.1:{own_valkey.port}")
    assert finding.level is Level.FAILED
    assert "AuthenticationError" in finding.detail
    assert "REDIS_URL" in finding.detail
    assert "wr0ng" not in finding.detail
    own_valkey.ask.acl_setuser("reader", enabled=True, nopass=True, commands=["+ping", "+getrange"], keys=["*"])
    assert "NOPERM" in (await _examine(f"redis://reader:x@127.0.0.1:{own_valkey.port}")).detail
    own_valkey.stop()
    assert (await _examine(f"redis://127.0.0.1:{own_valkey.port}")).level is Level.FAILED
