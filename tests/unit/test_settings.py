"""Settings: defaults, faults all at once, secrets masked, documentation in step."""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import Misconfigured
from copperplate.settings import Settings

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"


def test_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_env({})
    assert (settings.wait, settings.lease, settings.heartbeat) == tuple(timedelta(seconds=s) for s in (30, 20, 4))
    assert (settings.port, settings.data_dir, settings.max_waiters) == (8000, Path(".copperplate"), 5000)
    assert settings.database_url is None
    assert not settings.on_vercel


def test_empty_variable_counts_as_unset() -> None:
    assert Settings.from_env({"PORT": "", "DATABASE_URL": ""}) == Settings.from_env({})


def test_every_fault_is_reported_at_once_and_names_its_variable() -> None:
    wrong = {
        "DATABASE_URL": "mysql://somewhere",
        "SUPABASE_URL": "http://project.example",
        "SUPABASE_SECRET_KEY": "sb_publishable_0123",
        "SUPABASE_SERVICE_ROLE_KEY": "two words",
        "COPPERPLATE_LEDGER": "memory",
        "PORT": "99999",
        "COPPERPLATE_PROVIDER": "nobody",
        "COPPERPLATE_WAIT_SECONDS": "soon",
        "COPPERPLATE_LEASE_SECONDS": "0",
        "COPPERPLATE_HEARTBEAT_SECONDS": "nan",
        "COPPERPLATE_MAX_WAITERS": "-1",
        "COPPERPLATE_PROVIDER_SECONDS": "0",
        "FAL_KEY": "two words",
        "OPENAI_API_KEY": "key\nand more",
        "OPENAI_BASE_URL": "api.openai.com",
    }
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env(wrong)
    assert all(variable in str(refused.value) for variable in wrong)
    assert "docs/settings.md" in str(refused.value)


@pytest.mark.parametrize(
    "environment",
    [{"COPPERPLATE_LEASE_SECONDS": "10", "COPPERPLATE_HEARTBEAT_SECONDS": "5"}, {"CRON_SECRET": "short"}],
)
def test_settings_that_contradict_each_other_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        Settings.from_env(environment)


@pytest.mark.parametrize(
    ("environment", "has_disk_cache"),
    [
        ({}, False),
        ({"DATABASE_URL": "postgresql:///x"}, False),
        ({"SUPABASE_URL": "https://x.supabase.co"}, True),
        ({"SUPABASE_URL": "https://x.supabase.co", "COPPERPLATE_DISK_CACHE_MB": "0"}, False),
        ({"VERCEL": "1"}, True),
        ({"COPPERPLATE_DISK_CACHE_DIR": "cache"}, True),
        ({"VERCEL": "1", "COPPERPLATE_DISK_CACHE_MB": "0"}, False),
    ],
)
def test_pictures_are_kept_on_disk_where_it_is_asked_for_and_where_the_store_is_far_away(
    environment: dict[str, str], *, has_disk_cache: bool
) -> None:
    settings = Settings.from_env(environment)
    assert settings.has_disk_cache is has_disk_cache
    # All that a function may write is 500 MB.
    assert settings.disk_cache_bytes < 500_000_000


def test_secret_key_of_supabase_is_preferred_to_the_older_one() -> None:
    both = {"SUPABASE_SECRET_KEY": "sb_secret_new", "SUPABASE_SERVICE_ROLE_KEY": "a.b.old"}
    assert Settings.from_env(both).supabase_key == "sb_secret_new"
    assert Settings.from_env({"SUPABASE_SERVICE_ROLE_KEY": "a.b.old"}).supabase_key == "a.b.old"
    assert Settings.from_env({}).supabase_key is None


SECRETS = {
    "SUPABASE_SECRET_KEY": "sb_secret_hunter5",
    "SUPABASE_SERVICE_ROLE_KEY": "hunter6",
    "CRON_SECRET": "s" * 20,
    "FAL_KEY": "id:hunter3",
    "OPENAI_API_KEY": "sk-hunter4",
    "COPPERPLATE_URL_SIGNING_KEYS": "a:hunter7-hunter7-hunter7-hunter7-hunter7",
}


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_env({"DATABASE_URL": "postgresql://me:hunter2@db/x", **SECRETS})
    assert "hunter" not in repr(settings)
    assert "ssss" not in repr(settings)


def test_key_may_be_pasted_with_its_line_break() -> None:
    assert Settings.from_env({"FAL_KEY": " id:secret\n"}).fal_key == "id:secret"


ONE, OTHER = "1" * 32, "2:" * 16


@pytest.mark.parametrize(
    ("raw", "keys"),
    [
        (f"2026-11:{ONE}", (("2026-11", ONE),)),
        (f" a:{ONE} ,\n{'b' * 16}:{OTHER}\n", (("a", ONE), ("b" * 16, OTHER))),
    ],
)
def test_signing_keys_are_one_or_two_ids_and_secrets(raw: str, keys: tuple[tuple[str, str], ...]) -> None:
    assert Settings.from_env({"COPPERPLATE_URL_SIGNING_KEYS": raw}).url_signing_keys == keys


@pytest.mark.parametrize(
    "raw",
    [
        *(ONE, f":{ONE}", "a:", f"a:{ONE[1:]}", f"A:{ONE}", f"a_b:{ONE}", f"{'a' * 17}:{ONE}", f"é:{ONE}", f"a:{ONE}é"),
        *(f"a:{ONE}\n{ONE}", f"a:{ONE} {ONE}", f"a:{ONE},", f"a:{ONE},a:{OTHER}", f"a:{ONE},b:{ONE}", f"a:{ONE},b:2"),
        *(f"a:{ONE},b:{OTHER},c:{OTHER}c", f"a :{ONE}", f"a: {ONE}", f"a\n:{ONE}", ","),
    ],
)
def test_other_signing_keys_are_refused_without_showing_them(raw: str) -> None:
    with pytest.raises(Misconfigured, match="COPPERPLATE_URL_SIGNING_KEYS must be id:secret") as refused:
        Settings.from_env({"COPPERPLATE_URL_SIGNING_KEYS": raw})
    assert ONE[1:] not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8100", "http://localhost:8100/", "http://[::1]:1", "https://q.example"]
)
def test_address_of_the_queue_is_https_or_on_this_machine(url: str) -> None:
    assert Settings.from_env({"COPPERPLATE_FAL_QUEUE_URL": url}).fal_queue_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    ["http://queue.fal.run", "queue.fal.run", "https://me:word@q.example", "https://q.example?x=1", "http://127.0.0.2"],
)
def test_other_addresses_of_the_queue_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="COPPERPLATE_FAL_QUEUE_URL"):
        Settings.from_env({"COPPERPLATE_FAL_QUEUE_URL": url})


def test_no_fault_repeats_what_was_set() -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env({"DATABASE_URL": "mysql://me:hunter2@db/x"})
    assert "hunter2" not in str(refused.value)


@pytest.fixture
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return generate


def test_document_of_the_api_is_what_the_code_says(generate: ModuleType) -> None:
    assert (DOCS / "openapi.json").read_text() == generate.openapi(), "run .venv/bin/python docs/generate.py"


def test_settings_page_is_what_the_code_says(generate: ModuleType) -> None:
    page = (DOCS / "settings.md").read_text()
    assert page == generate.with_table(page), "run .venv/bin/python docs/generate.py"
    assert len({each.metadata["variable"] for each in fields(Settings)}) == len(fields(Settings))


def test_prices_on_the_page_are_those_of_the_table(generate: ModuleType) -> None:
    page = (DOCS / "providers.md").read_text()
    assert page == generate.with_table(page, "prices"), "run .venv/bin/python docs/generate.py"
