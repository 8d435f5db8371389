"""Each variable missing, empty and absurd: the server says which one, to the log and with 503, or does without it."""

from __future__ import annotations

import re
from dataclasses import fields
from secrets import token_hex

import httpx
import pytest
from asgi_lifespan import LifespanManager

from copperplate.errors import Misconfigured
from copperplate.http.app import create_app
from copperplate.settings import Settings
from tests.support.memory_services import memory_services
from tests.support.postgrest_server import make_jwt

# Keys of the older generation name their role; these have none that may do anything.
ANON_KEY, NO_ROLE = make_jwt("anon"), make_jwt("authenticated")
VARIABLES = {each.metadata["variable"]: each for each in fields(Settings)}
ABSURD = {
    "DATABASE_URL": ("mysql://x", "localhost", "None", "undefined", "postgresql://[half"),
    "COPPERPLATE_POOLER": ("None", "pgbouncer", "Transaction", "statement"),
    "SUPABASE_URL": (
        "ftp://x",
        "None",
        "https://",
        "https://[half",
        "javascript:alert(1)",
        "https://x:65536",
        "https://x:0",
    ),
    "COPPERPLATE_RENDER_AHEAD": ("jpg", "WEBP", "webp;avif", "webp,", "off,webp", "None"),
    "COPPERPLATE_ALLOWED_HOSTS": ("https://x", "two words", "a/b", "a,,b", "x:port", "*"),
    "COPPERPLATE_TRUSTED_PROXIES": ("localhost", "10.0.0.0/33", "10.0.0.1,", "10.0.0.1-9", "::1%lo/64", "*"),
    "SUPABASE_SECRET_KEY": ("two words", "line\nbreak", "None", "undefined", "sb_publishable_0123456789", ANON_KEY),
    "SUPABASE_SERVICE_ROLE_KEY": ("two words", "line\nbreak", "None", "sb_publishable_0123456789", ANON_KEY, NO_ROLE),
    "SUPABASE_JWT_SECRET": (
        *("None", "undefined", "null", "thirty-one characters, no more ..."[:31]),
        *("a line break was pasted with this secret\n", " a space was pasted with this other secret"),
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE",
        '{"kty":"EC","crv":"P-256","kid":"a","x":"b","y":"c"}',
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl",
        *("sb_publishable_0123456789abcdefghijklmnop", "sb_secret_0123456789abcdefghijklmnopqrs"),
    ),
    "COPPERPLATE_ACCESS": ("None", "Open", "closed", "public"),
    "COPPERPLATE_DAILY_BUDGET_USD": ("-1", "None", "5,00", "$5", "1e3", "nan", "0.0000001", "1000000000", "٥", "Off"),
    "COPPERPLATE_DAILY_BUDGET_PICTURES": ("-1", "1.5", "none", "off", "9999999999", "²"),
    "COPPERPLATE_ANONYMOUS_BUDGET_USD": ("-1", "off", "half", "inf", "9" * 20),
    "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES": ("-1", "off", "1e3"),
    "COPPERPLATE_USER_BUDGET_USD": ("-0.5", "off", "0,50"),
    "COPPERPLATE_CALLER_IN_FLIGHT": ("0", "-1", "1.5", "many"),
    "COPPERPLATE_LEDGER": ("None", "postgrest", "POSTGRES "),
    "COPPERPLATE_PROVIDER": ("None", "midjourney", "FAL "),
    "COPPERPLATE_PROVIDER_SECONDS": ("0", "-1", "nan", "inf", "1e9", "soon"),
    "FAL_KEY": ("two words", "line\nbreak", "k\xe9y", "None", "undefined", "null\n"),
    "COPPERPLATE_FAL_QUEUE_URL": ("http://queue.fal.run", "queue.fal.run", "https://u:p@queue.fal.run"),
    "COPPERPLATE_FAL_REST_URL": ("http://rest.fal.ai", "rest.fal.ai", "https://u:p@rest.fal.ai"),
    "COPPERPLATE_FAL_UPLOAD_ACL": ("None", "private", "Forbid"),
    "COPPERPLATE_PROCESS_MODELS": (",", "fal-ai/esrgan,fal-ai/esrgan"),
    "COPPERPLATE_RESULT_HOSTS": ("https://cdn.example.com", "localhost", "10.0.0.1", "a..b", "*.example.com", "cdn/x"),
    "COPPERPLATE_JOB_RETENTION_SECONDS": ("0", "-1", "nan", "86401", "1d"),
    "OPENAI_API_KEY": ("two words", "line\nbreak", "None", "undefined"),
    "OPENAI_BASE_URL": ("api.openai.com", "None"),
    "COPPERPLATE_STOP_SECONDS": ("-1", "nan", "soon"),
    "COPPERPLATE_WAIT_SECONDS": ("0", "-5", "nan", "86401"),
    "COPPERPLATE_LEASE_SECONDS": ("0", "-1", "nan", "inf"),
    "COPPERPLATE_HEARTBEAT_SECONDS": ("0", "-1", "x", "19"),
    "REDIS_URL": (
        *(
            "None",
            "localhost:6379",
            "http://redis.example.com",
            "unix:///run/redis.sock",
            "redis:///0",
            "redis://[half",
        ),
        *("redis://h:0", "redis://h:65536", "redis://h:port", "redis://h/one", "redis://h/0/1", "redis://h/0#1"),
        # How long we wait is nobody else's to say.
        *("redis://h?socket_timeout=30", "redis://h?health_check_interval=1", "redis://h?db=x", "redis://h?protocol=3"),
        *("redis://h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=perhaps"),
    ),
    "COPPERPLATE_PROCESS_URLS": ("yes", "true", "on", "2", " 1", "None"),
    "COPPERPLATE_REDIS_PROMPTS": ("yes", "True", "off", "01", "None"),
    "VERCEL": ("true", "yes", "preview"),
    "COPPERPLATE_LOG_LEVEL": ("None", "warn", "trace", "20", " info"),
    "COPPERPLATE_REDIS_SECONDS": ("-1", "nan", "86401", "2h"),
    "COPPERPLATE_MEMORY_PICTURES": ("-1", "1.5", "all", "1e3", "9999999999"),
    "COPPERPLATE_MEMORY_MB": ("-1", "1.5", "all", "1000001"),
    "COPPERPLATE_MEMORY_SECONDS": ("0", "-1", "nan", "an hour"),
    "COPPERPLATE_STALE_SECONDS": ("-1", "nan", "inf", "an hour"),
    "COPPERPLATE_CDN_SECONDS": ("-1", "nan", "86401", "1h"),
    "COPPERPLATE_CDN_STALE_SECONDS": ("-1", "nan", "86401", "1m"),
    "COPPERPLATE_DISK_CACHE_MB": ("-1", "1.5", "1e3", "all", "1000001", "²"),
    "COPPERPLATE_PROCESS_CREDITS": ("upscale", "upscale=-1", "upscale=1.5", "crop=1", "None"),
    "COPPERPLATE_MAX_CONNECTIONS": ("0", "-1", "1.5", "many"),
    "COPPERPLATE_MAX_STREAMS": ("0", "-1", "1.5", "all"),
    "COPPERPLATE_STREAMS_PER_ADDRESS": ("0", "-1", "1.5", "all"),
    "COPPERPLATE_MAX_WAITERS": ("0", "-1", "1.5", "1e3", "²"),
    "COPPERPLATE_WORK_ITEMS": ("0", "-1", "1.5", "1e3", "²"),
    "COPPERPLATE_PAINTER_SECONDS": ("-1", "nan", "x"),
    "COPPERPLATE_PUBLIC_BASE_URL": ("pictures.example.com", "None"),
    "CRON_SECRET": ("None", "undefined", "null", "fifteen letters"),
    "COPPERPLATE_METRICS_TOKEN": ("None", "undefined", "null", "fifteen letters"),
    "COPPERPLATE_URL_SIGNING_KEYS": (
        *("None", "a:thirty-one-characters-no-more-0", f"A:{'s' * 32}", f":{'s' * 32}", "s" * 64),
        *(f"a:{'s' * 32},a:{'t' * 32}", f"a:{'s' * 32},b:{'t' * 32},c:{'u' * 32}", f"a:{'s' * 32} {'s' * 32}"),
    ),
    "COPPERPLATE_PROVENANCE": ("XMP", "on", "1", "none"),
    "COPPERPLATE_VERCEL_TOKEN": ("None", "undefined", "null", "fifteen letters"),
    "COPPERPLATE_VERCEL_API_URL": ("http://api.vercel.com", "api.vercel.com", "https://u:p@api.vercel.com"),
    "PORT": ("-1", "65536", "http", "8e3"),
}
EXAMPLE = re.compile(r"^(\w+) must be .*(?:, such as (.+)|one of (\w+)(?:, \w+)*)\. See docs/settings\.md\.$")
# Any text will do: what it names is refused where it is used.
FREE_TEXT = {
    "COPPERPLATE_IMAGE_MODEL",
    "COPPERPLATE_MEMOJI_MODEL",
    "COPPERPLATE_DATA_DIR",
    "COPPERPLATE_DISK_CACHE_DIR",
    "VERCEL_URL",
    "VERCEL_BRANCH_URL",
    "VERCEL_PROJECT_PRODUCTION_URL",
    "VERCEL_PROJECT_ID",
    "VERCEL_TEAM_ID",
}
# What each provider, and the platform, cannot do without.
NEEDED = [
    ({}, "DATABASE_URL"),
    ({"DATABASE_URL": ""}, "DATABASE_URL"),
    ({"VERCEL": "1"}, "SUPABASE_URL"),
    ({"VERCEL": "1", "SUPABASE_URL": ""}, "SUPABASE_URL"),
    ({"SUPABASE_URL": "https://project.example"}, "SUPABASE_SECRET_KEY"),
    ({"COPPERPLATE_LEDGER": "postgres"}, "DATABASE_URL"),
    ({"DATABASE_URL": "postgresql:///x", "COPPERPLATE_PROVIDER": "fal"}, "FAL_KEY"),
    ({"DATABASE_URL": "postgresql:///x", "COPPERPLATE_PROVIDER": "fal", "FAL_KEY": ""}, "FAL_KEY"),
    ({"DATABASE_URL": "postgresql:///x", "COPPERPLATE_PROVIDER": "openai"}, "OPENAI_API_KEY"),
    ({"DATABASE_URL": "postgresql:///x", "COPPERPLATE_PROVIDER": "openai", "OPENAI_API_KEY": ""}, "OPENAI_API_KEY"),
    (
        {"DATABASE_URL": "postgresql:///x", "FAL_KEY": "k", "COPPERPLATE_IMAGE_MODEL": "../../admin"},
        "COPPERPLATE_IMAGE_MODEL",
    ),
]


def test_every_variable_is_here() -> None:
    assert set(ABSURD) | FREE_TEXT == set(VARIABLES)


@pytest.mark.parametrize("variable", VARIABLES)
def test_empty_variable_counts_as_unset(variable: str) -> None:
    assert Settings.from_env({variable: ""}) == Settings.from_env({})


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, all_ in ABSURD.items() for value in all_])
def test_absurd_value_is_refused_by_name_and_never_shown(variable: str, value: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env({variable: value})
    assert variable in str(refused.value)
    assert "Invalid" not in str(refused.value)  # what it must be, not what a parser thought of it
    assert "docs/settings.md" in str(refused.value)
    if VARIABLES[variable].metadata["is_secret"]:
        assert value not in str(refused.value)


@pytest.mark.parametrize("variable", ABSURD)
def test_example_in_the_message_about_a_variable_is_taken_for_that_variable(variable: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env({variable: ABSURD[variable][0]})
    found = EXAMPLE.search(str(refused.value))
    assert found, str(refused.value)
    named, *examples = found.groups()
    assert named == variable
    example = next(filter(None, examples))
    # Of what only its owner has, the message says where it is to be had.
    is_described = example.startswith("what ") and VARIABLES[variable].metadata["is_secret"]
    Settings.from_env({variable: token_hex(32) if is_described else example})


def test_address_of_the_project_is_explained_by_an_address_of_a_project() -> None:
    with pytest.raises(Misconfigured, match=r"SUPABASE_URL must be .*, such as https://[\w-]+\.supabase\.co\."):
        Settings.from_env({"SUPABASE_URL": "x.supabase.co"})


@pytest.mark.parametrize("variable", ["SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"])
def test_a_key_of_another_role_is_told_from_the_one_that_is_needed(variable: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.from_env({variable: ANON_KEY})
    example = VARIABLES[variable].metadata["example"]
    assert str(refused.value).startswith(
        f"{variable} must be no token of the role 'anon', as this one is, but a secret key or the service_role key, "
        f"such as {example}."
    )


@pytest.mark.parametrize(("environ", "variable"), NEEDED)
async def test_what_is_needed_and_missing_is_named_with_503_by_every_route(
    environ: dict[str, str], variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with (
        LifespanManager(create_app()) as running,
        httpx.AsyncClient(transport=httpx.ASGITransport(running.app), base_url="http://t") as client,
    ):
        assert variable in caplog.text
        for url in ("/64x64.png?text=a", "/api/generation/stats", "/api/cache/cleanup", "/"):
            answer = await client.get(url)
            assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
            assert answer.json()["code"] == "misconfigured"
            assert variable in answer.json()["detail"]


@pytest.mark.parametrize("secret", [None, ""])
async def test_secret_that_is_missing_lets_nobody_in_whatever_stands_for_nothing(secret: str | None) -> None:
    services = memory_services(environ={} if secret is None else {"CRON_SECRET": secret})
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        for sent in ("Bearer None", "Bearer undefined", "Bearer null", "Bearer ", "Bearer", "Bearer  ", "", "None"):
            for method in ("GET", "POST"):
                answer = await client.request(method, "/api/cache/cleanup", headers={"authorization": sent})
                assert (answer.status_code, answer.json()["code"]) == (503, "misconfigured")
                assert "CRON_SECRET" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["fal", "openai"])
def test_provider_is_never_asked_with_a_key_that_is_none(name: str) -> None:
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.compose import make_provider

    with pytest.raises(Misconfigured):
        make_provider("image", Settings.from_env({"COPPERPLATE_PROVIDER": name}), SystemClock())


def test_a_key_of_another_role_is_told_its_role_and_one_of_service_role_is_taken() -> None:
    with pytest.raises(Misconfigured, match=r"SUPABASE_SERVICE_ROLE_KEY must be .*role 'anon'"):
        Settings.from_env({"SUPABASE_SERVICE_ROLE_KEY": ANON_KEY})
    for key in (make_jwt("service_role"), "sb_secret_0123456789", "not.a.token"):
        assert Settings.from_env({"SUPABASE_SERVICE_ROLE_KEY": key}).supabase_key == key
