"""Statistics, explain, health, the front page, care: shapes, headers, and who is let in."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from asgi_lifespan import LifespanManager

from copperplate.errors import (
    CdnUnavailable,
    FolderUnavailable,
    LedgerUnavailable,
    ProviderFailed,
    StoreUnavailable,
    Unavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.http.app import create_app
from copperplate.http.routes.reference import render
from copperplate.http.schemas import explain as schemas
from copperplate.model import PictureFormat
from copperplate.recipes.explain import Comparison, Difference, Explanation
from copperplate.recipes.explain_memoji import MemojiExplanation
from copperplate.settings import Settings
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SUNSET = "/64x64.jpg?text=A%20beautiful%20sunset"
SECRET = "a secret of the cron"


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"CRON_SECRET": SECRET})
    yield made
    await made.request_meter.close()


def reach(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pictures.test")


def is_fresh(answer: httpx.Response) -> bool:
    return answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers


# --- statistics ----------------------------------------------------------------------------------


async def test_ten_people_and_one_link_save_nine_calls(client: httpx.AsyncClient) -> None:
    for _ in range(10):
        await client.get(SUNSET)
    answer = await client.get("/api/generation/stats")
    told = answer.json()
    assert answer.status_code == 200
    assert is_fresh(answer)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert set(told) == {"success", "stats", "message"}
    assert told["success"] is True
    assert told["message"] == "Saved 9 API calls today!"
    assert told["stats"]["total_requests"] == 10
    assert told["stats"]["total_api_calls_made"] == 1
    assert told["stats"]["total_api_calls_saved"] == told["stats"]["api_calls_saved_today"] == 9
    assert told["stats"]["efficiency_percent"] == 90.0


async def test_cache_stats(client: httpx.AsyncClient) -> None:
    empty = (await client.get("/api/cache/stats")).json()
    assert empty["stats"] == {
        "total_cached_images": 0,
        "total_access_count": 0,
        "avg_access_count": None,
        "total_size_bytes": 0,
        "total_stored_bytes": 0,
    }
    assert empty["memoji"] == {
        "total_memoji": 0,
        "total_usage": 0,
        "average_usage": None,
        "total_size_bytes": 0,
        "efficiency_percent": None,
        "estimated_savings_usd": 0.0,
    }
    size = len((await client.get(SUNSET)).content)
    await client.get(SUNSET)
    answer = await client.get("/api/cache/stats")
    assert is_fresh(answer)
    assert set(answer.json()) == {"success", "stats", "memoji", "savings", "tiers"}
    tiers = answer.json()["tiers"]
    assert list(tiers) == ["memory", "disk", "redis", "storage"]
    assert sum(row["hits_today"] for row in tiers.values()) == 1
    assert tiers["redis"] == dict.fromkeys(tiers["redis"], 0) | {"oldest_seconds": None}
    savings = answer.json()["savings"]["image"]
    assert (savings["served"], savings["saved"], savings["efficiency_percent"]) == (2, 1, 50.0)
    assert savings["estimated_savings_usd"] == savings["spent_usd"] > 0
    assert (savings["estimated_calls"], savings["unpriced_calls"], savings["unpriced_saved"]) == (1, 0, 0)
    assert answer.json()["savings"]["memoji"]["served"] == 0
    row = answer.json()["stats"]
    # The WebP beside it, which nobody asked for yet, is an image as well.
    assert (row["total_cached_images"], row["total_access_count"], row["avg_access_count"]) == (2, 2, 1.0)
    assert row["total_size_bytes"] == size + len(b"picture 1 as webp")


async def test_a_ledger_that_is_away_is_a_503(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.ledger.kind_stats = _away  # type: ignore[method-assign]
    answer = await client.get("/api/cache/stats")
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert is_fresh(answer)


@pytest.mark.parametrize(
    "error",
    [
        LedgerUnavailable("the database of db.internal:5432 does not answer"),
        StoreUnavailable("https://store.internal refuses"),
        FolderUnavailable("/var/pictures: no space left on device"),
        CdnUnavailable("https://cdn.internal does not answer"),
    ],
)
async def test_what_does_not_answer_is_for_the_log_and_not_for_callers(
    services: MemoryServices, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, error: Unavailable
) -> None:
    async def fail(kind: str) -> Any:
        raise error

    services.ledger.kind_stats = fail  # type: ignore[method-assign]
    answer = await client.get("/api/cache/stats")
    assert (answer.status_code, answer.json()["code"]) == (503, error.code)
    assert not {"db.internal", "store.internal", "/var/pictures", "cdn.internal"} & set(re.split(r"[ :]", answer.text))
    assert str(error) not in answer.text
    assert str(error) in caplog.text


async def _away(kind: str = "") -> Any:
    raise LedgerUnavailable("the database does not answer")


# --- explain -------------------------------------------------------------------------------------


async def test_explain_tells_every_step(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/explain", params={"url": SUNSET})
    told = answer.json()
    assert is_fresh(answer)
    assert told["success"] is True
    assert told["explanation"]["text_folded"] == "A beautiful sunset"
    assert len(told["explanation"]["generation_key"]) == 64
    assert (told["other"], told["comparison"]) == (None, None)


async def test_explain_takes_whole_addresses(client: httpx.AsyncClient) -> None:
    short = await client.get("/api/explain", params={"url": SUNSET})
    whole = await client.get("/api/explain", params={"url": "https://pictures.example" + SUNSET + "#top"})
    assert whole.json()["explanation"]["rendition_key"] == short.json()["explanation"]["rendition_key"]


async def test_explain_says_why_two_differ(client: httpx.AsyncClient) -> None:
    both = {"url": SUNSET, "other": SUNSET.replace("A%20", "a%20")}
    told = (await client.get("/api/explain", params=both)).json()
    assert told["comparison"]["is_same_generation"] is False
    assert [each["field"] for each in told["comparison"]["differences"]] == ["prompt"]


async def test_explain_takes_the_parameters_themselves(client: httpx.AsyncClient) -> None:
    given: dict[str, str | int] = {"width": 64, "height": 64, "format": "jpg", "text": "A beautiful sunset"}
    direct = (await client.get("/api/explain", params=given)).json()
    by_url = (await client.get("/api/explain", params={"url": SUNSET})).json()
    assert direct["explanation"]["rendition_key"] == by_url["explanation"]["rendition_key"]


async def test_explain_takes_configurations_of_memoji(client: httpx.AsyncClient) -> None:
    both = {"memoji": '{"hair": "LONG"}', "other": '{"hair": "bun"}'}
    told = (await client.get("/api/explain", params=both)).json()
    assert told["explanation"]["respelled"] == {"hair": "long"}
    assert [each["field"] for each in told["comparison"]["differences"]] == ["hair"]


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"memoji": ""}, 400, "invalid_configuration"),
        ({"memoji": "{}", "other": "[]"}, 400, "invalid_configuration"),
        ({"memoji": "{}", "url": SUNSET}, 400, "invalid_query"),
        ({}, 400, "invalid_query"),
        ({"url": ""}, 404, "not_found"),
        ({"url": "/healthz"}, 404, "not_found"),
        ({"url": "/64x64.jpg"}, 400, "invalid_text"),
        ({"url": "/1x1.jpg?text=a"}, 400, "invalid_size"),
        ({"url": SUNSET, "other": "/64x64.gif?text=a"}, 400, "invalid_format"),
        ({"url": "/64x64.jpg?text=a&model=no/such"}, 400, "invalid_model"),
        ({"text": "a", "width": "wide"}, 400, "invalid_request"),
        ({"text": "a", "format": "../../x"}, 400, "invalid_format"),
        ({"text": "a\0b"}, 400, "invalid_text"),
        ({"text": "a", "prompt": "b"}, 400, "invalid_query"),
    ],
)
async def test_explain_answers_what_a_server_would(
    client: httpx.AsyncClient, params: dict[str, Any], status: int, code: str
) -> None:
    answer = await client.get("/api/explain", params=params)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert is_fresh(answer)


async def test_explain_reads_the_query_as_the_picture_url_would(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/explain?text=%ED%A0%80")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    told = (await client.get("/api/explain?width=64&height=64&text=a+b%2Bc&utm=x")).json()["explanation"]
    assert told["text_folded"] == "a b+c"
    assert told["parameters_ignored"] == ["width", "height", "utm"]


async def test_explain_spends_nothing(client: httpx.AsyncClient, services: MemoryServices) -> None:
    await client.get("/api/explain", params={"url": SUNSET})
    assert services.image_provider.submits == 0


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (schemas.ExplanationOut, Explanation),
        (schemas.MemojiExplanationOut, MemojiExplanation),
        (schemas.ComparisonOut, Comparison),
        (schemas.DifferenceOut, Difference),
    ],
)
def test_the_document_shows_every_field_of_an_explanation(schema: Any, value: Any) -> None:
    assert list(schema.model_fields) == [field.name for field in dataclasses.fields(value)]


# --- health, pages, document ---------------------------------------------------------------------


async def test_health_asks_nobody(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.ledger.generation_stats = _away  # type: ignore[method-assign]
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert is_fresh(answer)


async def test_robots_keep_away_from_pictures(client: httpx.AsyncClient) -> None:
    answer = await client.get("/robots.txt")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "public, max-age=86400"
    assert answer.text.splitlines() == [
        "User-agent: *",
        "Disallow: /*x*.jpg",
        "Disallow: /*x*.jpeg",
        "Disallow: /*x*.png",
        "Disallow: /*x*.webp",
        "Disallow: /*x*.avif",
        "Disallow: /*x*.auto",
        "Disallow: /api/",
    ]


async def test_the_front_page_shows_one_picture_and_the_savings(client: httpx.AsyncClient) -> None:
    await client.get(SUNSET)
    await client.get(SUNSET)
    await client.get("/api/generation/stats")
    answer = await client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert '<img src="/1024x1024.jpg?text=A%20beautiful%20sunset"' in answer.text
    assert 'href="/docs"' in answer.text
    figures = (
        r"Requests so far: 2; calls to the provider: 1; saved: 1 \(50\.0 % of what was served\), which is \$0\.\d+\."
    )
    assert re.search(figures, answer.text)
    assert "<script" not in answer.text
    assert not re.search(r"\$[a-z]", answer.text)  # nothing of the template is left


async def test_the_links_of_the_front_page_lead_somewhere(client: httpx.AsyncClient) -> None:
    text = (await client.get("/")).text
    links = {part.split('"')[0] for part in text.split('href="')[1:]}
    assert len(links) == 4
    for link in links:
        assert (await client.get(link)).status_code == 200, link


async def test_the_front_page_needs_no_database(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.ledger.generation_stats = _away  # type: ignore[method-assign]
    answer = await client.get("/")
    assert answer.status_code == 200
    assert "out of reach" in answer.text


async def test_the_document_shows_pictures_and_problems(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    picture = document["paths"]["/{width}x{height}.{format}"]
    assert set(picture) == {"parameters", "get", "head"}
    assert set(picture["get"]["responses"]["200"]["content"]) == {each.media_type for each in PictureFormat}
    assert {"/api/generation/stats", "/api/cache/stats", "/api/explain", "/api/cache/cleanup", "/healthz"} < set(
        document["paths"]
    )
    assert document["components"]["schemas"]["ProblemOut"]["properties"].keys() == {
        "type",
        "title",
        "status",
        "detail",
        "code",
    }
    assert "422" not in str([path.get("get", {}).get("responses", {}).keys() for path in document["paths"].values()])
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_the_reference_names_every_address_and_shape_and_runs_nothing(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    answer = await client.get("/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for path, item in document["paths"].items():
        for method in {"get", "head", "post"} & set(item):
            assert f"<h2>{method.upper()} {path}</h2>" in answer.text
    for name in document["components"]["schemas"]:
        assert f'<h2 id="{name}">' in answer.text
    assert "<script" not in answer.text
    assert "https://" not in answer.text


def test_the_reference_shows_what_a_request_holds() -> None:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Wish"}}}}
    item = {"post": {"summary": "Wish", "requestBody": body, "responses": {}}}
    told = {"title": "t", "version": "1", "description": "d"}
    page = render({"info": told, "paths": {"/wish": item}, "components": {"schemas": {"Wish": {}}}})
    assert '<p>Body: <a href="#Wish">Wish</a></p>' in page


def test_the_reference_shows_markup_as_text() -> None:
    words = "<script>"
    schema = {"type": "string", "enum": [words]}
    parameter = {"name": words, "in": "query", "description": words, "schema": schema}
    answer = {"description": words, "content": {words: {}}}
    item = {"get": {"description": words, "parameters": [parameter], "responses": {"200": answer}}}
    shape = {"description": words, "properties": {words: {"type": words, "description": words}}}
    told = {"title": words, "version": words, "description": words}
    page = render({"info": told, "paths": {words: item}, "components": {"schemas": {words: shape}}})
    assert "&lt;script&gt;" in page
    assert words not in page


# --- errors of the framework ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nope", "/api", "/healthz/", "/favicon.ico", "/%00", "/1024x1024", "/a/../b"])
async def test_an_unknown_page_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"
    assert is_fresh(answer)


async def test_a_wrong_method_says_which_are_right(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/cache/stats")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"
    assert is_fresh(answer)


async def test_a_wrong_method_is_told_those_of_every_route(client: httpx.AsyncClient) -> None:
    assert (await client.put("/api/cache/cleanup")).headers["allow"] == "GET, POST"


async def test_a_bug_in_a_route_is_a_500_without_words(
    client: httpx.AsyncClient, services: MemoryServices, caplog: pytest.LogCaptureFixture
) -> None:
    words = "the prompt was a beautiful sunset"

    async def explode(kind: str) -> Any:
        raise ValueError(words)

    services.ledger.kind_stats = explode  # type: ignore[method-assign]
    answer = await client.get("/api/cache/stats")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert is_fresh(answer)
    assert "sunset" not in answer.text + caplog.text
    assert "ValueError" in caplog.text


async def test_a_signal_never_shows_its_words(client: httpx.AsyncClient, services: MemoryServices) -> None:
    async def refuse(kind: str) -> Any:
        raise ProviderFailed(FailureClass.INVALID, "the provider's own words")

    services.ledger.kind_stats = refuse  # type: ignore[method-assign]
    answer = await client.get("/api/cache/stats")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "own words" not in answer.text


# --- misconfiguration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"VERCEL": "1"}, ["SUPABASE_URL", "SUPABASE_SECRET_KEY"]),
        ({}, ["SUPABASE_URL", "DATABASE_URL"]),
        ({"SUPABASE_URL": "https://project.example"}, ["SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"]),
        ({"COPPERPLATE_LEDGER": "postgres"}, ["COPPERPLATE_LEDGER", "DATABASE_URL"]),
        ({"CRON_SECRET": "short", "PORT": "no"}, ["PORT"]),
        ({"DATABASE_URL": "postgresql://h/db?nonsense=1"}, ["DATABASE_URL"]),
    ],
)
async def test_a_server_that_is_not_configured_says_so_and_lives(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], named: list[str]
) -> None:
    for variable in ("VERCEL", "SUPABASE_URL", "SUPABASE_SECRET_KEY", "DATABASE_URL", "CRON_SECRET", "PORT"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    async with LifespanManager(create_app()) as running, reach(running.app) as client:
        for path in (SUNSET, "/", "/api/generation/stats", "/nope", "/docs", "/9x9.jpg"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "misconfigured"), path
            assert is_fresh(answer)
            assert all(variable in answer.json()["detail"] for variable in named)
        assert (await client.head(SUNSET)).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_settings_that_are_given_are_not_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "no")
    app = create_app(Settings.from_env({}))
    async with LifespanManager(app) as running, reach(running.app) as client:
        assert "DATABASE_URL" in (await client.get("/")).json()["detail"]


async def test_a_server_that_never_started_the_app_says_so() -> None:
    async with reach(create_app()) as client:
        assert (await client.get(SUNSET)).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


# --- cleanup -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_secret_opens_the_cleanup(client: httpx.AsyncClient, method: str, scheme: str) -> None:
    answer = await client.request(method, "/api/cache/cleanup", headers={"Authorization": f"{scheme} {SECRET}"})
    assert answer.status_code == 200
    assert is_fresh(answer)
    assert answer.json() == {
        "success": True,
        "images": 0,
        "memoji": 0,
        "processed_pictures": 0,
        "archived": 0,
        "generations": 0,
        "swept": 0,
        "objects": 0,
        "orphans": 0,
        "odd": 0,
        "placeholders": 0,
        "placeholders_left": 0,
        "bytes": 0,
        "seconds": answer.json()["seconds"],
        "is_complete": True,
        "work": {"made": 0, "failed": 0, "put_back": 0},
    }


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer None",
        "Bearer null",
        "Bearer undefined",
        f"Basic {SECRET}",
        SECRET,
        f"Bearer  {SECRET}",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET.upper()}",
        f"Bearer {SECRET}, Bearer x",
        b"Bearer \xff\xfe",
        "Bearer " + "x" * 10_000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_else_opens_it(client: httpx.AsyncClient, method: str, value: Any) -> None:
    headers = {} if value is None else {"Authorization": value}
    answer = await client.request(method, "/api/cache/cleanup", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert SECRET not in answer.text
    assert is_fresh(answer)


@pytest.mark.parametrize("value", ["Bearer None", "Bearer ", "Bearer", f"Bearer {SECRET}"])
async def test_without_a_secret_nobody_is_let_in(value: str) -> None:
    async with reach(create_app(services=memory_services())) as client:
        answer = await client.get("/api/cache/cleanup", headers={"Authorization": value})
        assert (answer.status_code, answer.json()["code"]) == (503, "misconfigured")
        assert "CRON_SECRET" in answer.json()["detail"]


async def test_secrets_beyond_ascii_are_compared_as_bytes() -> None:
    secret = "geheim-für-den-cron"
    async with reach(create_app(services=memory_services(environ={"CRON_SECRET": secret}))) as client:
        right = [(b"Authorization", b"Bearer " + secret.encode())]
        assert (await client.get("/api/cache/cleanup", headers=right)).status_code == 200
        wrong = [(b"Authorization", b"Bearer " + secret.encode("latin-1"))]
        assert (await client.get("/api/cache/cleanup", headers=wrong)).status_code == 401
