"""`/api/images/{id}`: kept pictures by their names, in every form, at nobody's expense."""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import pytest
from PIL import Image

from copperplate.errors import LedgerUnavailable
from copperplate.generation.lookup import LOOK_ONLY
from copperplate.model import Condition, Outcome, ProviderResult
from copperplate.recipes.kinds import IMAGE, KINDS
from copperplate.recipes.memoji import memoji_request
from copperplate.recipes.objects import original_key, sha256_hex
from copperplate.serving import kept_names
from copperplate.testing import GENERATE
from tests.support.feeds import read_feed
from tests.support.painting_services import painting_services
from tests.support.xmp import label

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.support.memory_services import MemoryServices

PICTURE: Final = "/128x64.jpg?text=a"
KEY: Final = "x-copperplate-key"
# Headers that say how and when a picture was found, and not which.
OF_THE_REQUEST: Final = ("x-cache", "cache-status")


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    async with painting_services() as made:
        yield made


class Kept:
    """A picture that was made, and its names."""

    def __init__(self, answer: httpx.Response, services: MemoryServices) -> None:
        self.answer = answer
        self.services = services
        self.key = answer.headers[KEY]
        entry = services.ledger._entries[self.key].entry
        self.generation_key, self.path = entry.generation_key, entry.path
        self.original_path = services.ledger._entries[original_key(self.generation_key)].entry.path


@pytest.fixture
async def kept(client: httpx.AsyncClient, services: MemoryServices) -> Kept:
    return Kept(await client.get(PICTURE), services)


def _size(answer: httpx.Response) -> tuple[int, int]:
    with Image.open(BytesIO(answer.content)) as image:
        return image.size


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OF_THE_REQUEST}


async def test_a_rendition_has_the_answer_of_its_url(client: httpx.AsyncClient, kept: Kept) -> None:
    for name in (kept.key, kept.path, f"{IMAGE.bucket}/{kept.path}", kept.path.replace("/", "%2F")):
        answer = await client.get(f"/api/images/{name}")
        assert (answer.status_code, answer.content) == (200, kept.answer.content)
        assert _headers(answer) == _headers(kept.answer)
        assert answer.headers["x-cache"] == "HIT"


async def test_line_of_an_outage_says_how_long_the_caller_waited_and_that_it_failed(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(name: str) -> Any:
        await asyncio.sleep(0.05)
        raise LedgerUnavailable(f"the database does not answer for {name[:4]}")

    services.ledger.find_kept = fail  # type: ignore[method-assign]
    caplog.set_level(logging.INFO, "copperplate.requests")
    for name in ("0" * 64, "nothing"):
        await client.get(f"/api/images/{name}")
    lines = [record.getMessage() for record in caplog.records if record.name == "copperplate.requests"]
    waited, unknown = (dict(part.split("=") for part in line.split()) for line in lines)
    assert (waited["status"], waited["outcome"], waited["tier"]) == ("503", "failed", "none")
    assert float(waited["ms"]) >= 50
    assert (unknown["status"], unknown["outcome"]) == ("404", "-")


async def test_a_generation_is_its_original(client: httpx.AsyncClient, services: MemoryServices, kept: Kept) -> None:
    stored = await services.store.get(kept.original_path)
    for name in (kept.generation_key, kept.original_path, original_key(kept.generation_key)):
        answer = await client.get(f"/api/images/{name}")
        assert (answer.status_code, answer.content) == (200, stored)
        assert (answer.headers["etag"], answer.headers["content-type"]) == (f'"{sha256_hex(stored)}"', "image/png")


@pytest.mark.parametrize(
    ("query", "picture"),
    [
        ("w=32", "/128x64.png?text=a&w=32"),
        ("w=32&format=avif", "/128x64.avif?text=a&w=32"),
        ("format=jpeg", PICTURE),
        ("format=webp&q=41&thumb=16&fit=contain", "/128x64.webp?text=a&q=60&thumb=16&fit=contain"),
    ],
)
async def test_every_form_is_the_rendition_of_the_pictures_url(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept, query: str, picture: str
) -> None:
    answer = await client.get(f"/api/images/{kept.generation_key}?{query}")
    assert answer.status_code == 200
    assert answer.headers[KEY] == (await client.get(picture)).headers[KEY]
    assert services.image_provider.submits == 1


async def test_the_format_of_an_entry_is_the_default(client: httpx.AsyncClient, kept: Kept) -> None:
    answer = await client.get(f"/api/images/{kept.key}?w=32")
    assert (answer.headers["content-type"], _size(answer)) == ("image/jpeg", (32, 16))
    again = await client.get(f"/api/images/{answer.headers[KEY]}")
    assert (again.content, again.headers["etag"]) == (answer.content, answer.headers["etag"])


@pytest.mark.parametrize(
    "query",
    ["w=128", "w=2048", "w=2048&h=1024", "w=128&h=64&fit=contain", "format=png", "q=40", "w=128&format=png&q=60"],
)
async def test_parameters_that_come_to_the_canvas_answer_the_original(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept, query: str
) -> None:
    stored = await services.store.get(kept.original_path)
    plain = await client.get(f"/api/images/{kept.generation_key}")
    answer = await client.get(f"/api/images/{kept.generation_key}?{query}")
    assert (answer.status_code, answer.content) == (200, stored)
    assert [answer.headers[name] for name in (KEY, "etag")] == [plain.headers[name] for name in (KEY, "etag")]


async def test_parameters_that_come_to_the_canvas_answer_a_whole_form_itself(
    client: httpx.AsyncClient, kept: Kept
) -> None:
    rough = await client.get(f"{PICTURE}&q=40")
    for query in ("w=128", "w=2048&h=1024", "format=jpeg", "w=500&format=jpg&q=40"):
        answer = await client.get(f"/api/images/{rough.headers[KEY]}?{query}")
        assert (answer.content, answer.headers[KEY]) == (rough.content, rough.headers[KEY])
    better = await client.get(f"/api/images/{rough.headers[KEY]}?w=500&q=85")
    assert better.headers[KEY] == kept.key


async def test_an_original_that_is_larger_than_its_canvas_is_cut_to_it(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept
) -> None:
    row = services.ledger._entries[original_key(kept.generation_key)]
    row.entry = replace(row.entry, width=256, height=128)
    answer = await client.get(f"/api/images/{kept.generation_key}?w=2048")
    assert answer.headers[KEY] == (await client.get("/128x64.png?text=a")).headers[KEY]


async def test_the_canvas_of_a_small_form_is_the_whole_picture(client: httpx.AsyncClient, kept: Kept) -> None:
    small = await client.get(f"{PICTURE}&w=32")
    for query, size in (("w=2048", (128, 64)), ("q=95", (128, 64)), ("format=avif", (128, 64))):
        assert _size(await client.get(f"/api/images/{small.headers[KEY]}?{query}")) == size


async def test_head_options_and_304_are_those_of_a_pictures_url(client: httpx.AsyncClient, kept: Kept) -> None:
    url = f"/api/images/{kept.key}"
    head = await client.head(url)
    assert (head.status_code, head.content, _headers(head)) == (200, b"", _headers(kept.answer))
    held = await client.get(url, headers={"if-none-match": head.headers["etag"]})
    assert (held.status_code, held.content) == (304, b"")
    assert dict((await client.options(url)).headers) == dict((await client.options(PICTURE)).headers)
    refused = await client.post(url)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_uses_are_counted_as_those_of_the_picture(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept
) -> None:
    counted: list[tuple[str, Outcome]] = []

    def count(request: Any, outcome: Outcome, **_: Any) -> None:
        counted.append((request.rendition_key, outcome))

    services.request_meter.count = count  # type: ignore[method-assign]
    await client.get(f"/api/images/{kept.key}")
    await client.head(f"/api/images/{kept.key}")
    await client.get(f"/api/images/{kept.key}?placeholder")
    await client.get(f"/api/images/{'0' * 64}")
    assert counted == [(kept.key, Outcome.HIT)]


async def test_parameters_without_effect_are_named(client: httpx.AsyncClient, kept: Kept) -> None:
    answer = await client.get(f"/api/images/{kept.generation_key}?q=40&fit=cover&utm_source=a&text=b&sig=c")
    assert answer.headers["x-copperplate-ignored"] == "utm_source, text, q, fit"
    assert answer.headers[KEY] == original_key(kept.generation_key)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("w=0", "invalid_display"),
        ("w=640.5", "invalid_display"),
        ("h=5", "invalid_display"),
        ("w=32&w=32", "invalid_query"),
        ("format=gif", "invalid_format"),
        ("format=", "invalid_format"),
        ("placeholder=yes", "invalid_display"),
        ("placeholder&w=32", "invalid_display"),
        ("w=%FF", "invalid_query"),
        (f"a={'b' * 20_000}", "invalid_query"),
    ],
)
async def test_wrong_parameters_are_400(client: httpx.AsyncClient, kept: Kept, query: str, code: str) -> None:
    answer = await client.get(f"/api/images/{kept.key}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_negotiated_format_is_in_no_shared_cache(client: httpx.AsyncClient, kept: Kept) -> None:
    url = f"/api/images/{kept.key}?format=auto&w=32"
    avif = await client.get(url, headers={"accept": "image/avif,*/*"})
    jpg = await client.get(url, headers={"accept": "*/*"})
    assert [each.headers["content-type"] for each in (avif, jpg)] == ["image/avif", "image/jpeg"]
    missing = await client.get(f"/api/images/{'0' * 64}?format=auto")
    for answer in (avif, jpg, missing):
        assert (answer.headers["vary"], answer.headers["cdn-cache-control"]) == ("Accept", "no-store")
    assert "private" in avif.headers["cache-control"]


# --- what is no picture --------------------------------------------------------------------------

HEX: Final = "0123456789abcdef" * 4
BAD_NAMES: Final = (
    "",
    "x",
    HEX[:-1],
    HEX + "0",
    HEX.upper(),
    HEX + "%0A",
    "\u0661" * 64,
    f"2026/11/{HEX}",
    f"2026/11/{HEX}.gif",
    f"2026/11/{HEX}.jpg/",
    f"//2026/11/{HEX}.jpg",
    f"other-bucket/2026/11/{HEX}.jpg",
    f"generated-images/memoji-images/2026/11/{HEX}.jpg",
    f"generated-images%2F..%2F2026/11/{HEX}.jpg",
    "..%2F..%2Fetc%2Fpasswd",
    "%00",
    "%FF%FE",
    f"{HEX}.auto",
    f"{HEX}/info.jsn",
    "a" * 60_000,
)


@pytest.mark.parametrize("name", BAD_NAMES, ids=range(len(BAD_NAMES)))
@pytest.mark.parametrize("ending", ["", "/info.json"])
async def test_a_bad_name_is_404_and_asks_nobody(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch, name: str, ending: str
) -> None:
    async def find_kept(_: str) -> None:
        raise AssertionError("the ledger was asked")

    monkeypatch.setattr(services.ledger, "find_kept", find_kept)
    answer = await client.get(f"/api/images/{name}{ending}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("name", [HEX, f"2026/11/{HEX}.jpg", f"memoji-images/2026/11/{HEX}.png"])
@pytest.mark.parametrize("query", ["", "?w=32", "?placeholder", "?format=webp"])
async def test_nothing_is_made_of_what_is_not_kept(
    client: httpx.AsyncClient, services: MemoryServices, name: str, query: str
) -> None:
    for method in ("GET", "HEAD"):
        answer = await client.request(method, f"/api/images/{name}{query}")
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert (await client.get(f"/api/images/{name}/info.json")).status_code == 404
    assert services.image_provider.submits == 0


async def test_what_is_kept_no_more_is_404(client: httpx.AsyncClient, services: MemoryServices, kept: Kept) -> None:
    names = (kept.key, kept.generation_key, kept.path)
    for name in names:
        assert (await client.get(f"/api/images/{name}")).status_code == 200
    await services.ledger.purge(Condition(key=kept.generation_key), 1, is_dry_run=False)
    await read_feed(services.tiers.coherence)
    for name in names:
        for query in ("", "?w=32", "?placeholder", "/info.json"):
            assert (await client.get(f"/api/images/{name}{query}")).status_code == 404
    assert services.image_provider.submits == 1


async def test_a_form_that_is_kept_no_more_has_no_key(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept
) -> None:
    form = (await client.get(f"{PICTURE}&w=32")).headers["x-copperplate-key"]
    await services.renditions.shut_down(within_seconds=1)
    assert (await client.get(f"/api/images/{form}")).status_code == 200
    del services.ledger._entries[form]
    services.ledger._declare_wrong([kept.generation_key])
    await read_feed(services.tiers.coherence)
    assert (await client.get(f"/api/images/{form}")).status_code == 404


async def test_a_lost_original_is_not_made_again(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept
) -> None:
    await services.store.remove([kept.original_path])
    answer = await client.get(f"/api/images/{kept.generation_key}?w=32")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert services.image_provider.submits == 1


async def test_what_was_taken_down_is_gone(client: httpx.AsyncClient, services: MemoryServices, kept: Kept) -> None:
    await client.get(f"/api/images/{kept.generation_key}")
    await services.ledger.take_down(kept.generation_key, reason="asked for")
    await read_feed(services.tiers.coherence)
    for name in (kept.generation_key, kept.key):
        assert (await client.get(f"/api/images/{name}")).status_code in (404, 410)
    assert (await client.get(f"/api/images/{kept.generation_key}")).json()["code"] == "taken_down"
    assert (await client.get(f"/api/images/{kept.generation_key}/info.json")).status_code in (404, 410)


async def test_a_private_kind_is_not_there(
    client: httpx.AsyncClient, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = {name: _Private(spec) for name, spec in KINDS.items()}
    monkeypatch.setattr(kept_names, "KINDS", private)
    for ending in ("", "?placeholder", "/info.json"):
        assert (await client.get(f"/api/images/{kept.key}{ending}")).status_code == 404


class _Private:
    is_public = False

    def __init__(self, spec: Any) -> None:
        self.bucket = spec.bucket


async def test_a_key_that_is_not_valid_is_refused_here_too(client: httpx.AsyncClient, kept: Kept) -> None:
    headers = {"x-api-key": f"cp_{'a' * 57}"}
    for url in (f"/api/images/{kept.key}", f"/api/images/{HEX}", f"/api/images/{kept.key}/info.json"):
        assert (await client.get(url, headers=headers)).status_code == 401


async def test_a_placeholder_of_what_is_not_made_says_where_the_picture_is_made(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{PICTURE}&placeholder")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_generated")
    assert "without placeholder" in answer.json()["detail"]
    assert "without placeholder" not in (await client.head(PICTURE)).text


@pytest.mark.parametrize("query", ["format=auto", "%66ormat=%61uto", "format=auto&format=auto", "format=auto&w=0"])
async def test_errors_of_a_negotiated_format_are_in_no_shared_cache(
    client: httpx.AsyncClient, kept: Kept, query: str
) -> None:
    refused = {"x-api-key": f"cp_{'a' * 57}"}
    for name, headers in ((HEX, {}), (kept.key, refused), ("nothing", {})):
        answer = await client.get(f"/api/images/{name}?{query}", headers=headers)
        assert answer.status_code in (400, 401, 404)
        assert (answer.headers["vary"], answer.headers["cdn-cache-control"]) == ("Accept", "no-store")
    assert "vary" not in (await client.get(f"/api/images/{HEX}?w=0&xformat=auto")).headers


async def test_a_picture_that_comes_in_another_format_the_next_time_is_answered_as_that(
    client: httpx.AsyncClient, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_key = f"/api/images/{kept.generation_key}"
    assert (await client.get(by_key)).headers["content-type"] == "image/png"
    await kept.services.ledger.purge(Condition(key=kept.generation_key), 1, is_dry_run=False)
    await read_feed(kept.services.tiers.coherence)
    painter = kept.services.kinds["image"].provider
    submit = painter.submit

    async def as_jpeg(*arguments: Any, **named: Any) -> ProviderResult:
        painted = await submit(*arguments, **named)
        assert isinstance(painted, ProviderResult)
        body = BytesIO()
        with Image.open(BytesIO(painted.body or b"")) as image:
            image.convert("RGB").save(body, "JPEG")
        return replace(painted, body=body.getvalue())

    monkeypatch.setattr(painter, "submit", as_jpeg)
    assert (await client.get(PICTURE)).status_code == 200
    answer = await client.get(by_key)
    assert (answer.headers["content-type"], answer.content[:2]) == ("image/jpeg", b"\xff\xd8")


async def test_an_object_that_was_replaced_has_no_name(client: httpx.AsyncClient, kept: Kept) -> None:
    """What was made again has its keys again, and other objects."""
    assert (await client.get(f"/api/images/{kept.path}")).status_code == 200
    services = kept.services
    await services.ledger.purge(Condition(key=kept.generation_key), 1, is_dry_run=False)
    await read_feed(services.tiers.coherence)
    assert Kept(await client.get(PICTURE), services).path != kept.path
    for name in (kept.path, f"{IMAGE.bucket}/{kept.path}", kept.original_path):
        for query in ("", "?w=32", "?placeholder", "/info.json"):
            assert (await client.get(f"/api/images/{name}{query}")).status_code == 404
    assert (await client.get(f"/api/images/{kept.key}")).status_code == 200


# --- placeholders --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jpg", "png", "webp", "avif"])
async def test_a_placeholder_is_a_tiny_picture(client: httpx.AsyncClient, kept: Kept, form: str) -> None:
    by_url = await client.get(f"/128x64.{form}?text=a&placeholder")
    by_name = await client.get(f"/api/images/{kept.key}?placeholder=1&format={form}")
    assert by_url.content == by_name.content
    assert (by_url.headers["content-type"], _size(by_url)) == (f"image/{form}".replace("jpg", "jpeg"), (32, 16))
    assert by_url.headers["etag"] == f'"{sha256_hex(by_url.content)}"' != kept.answer.headers["etag"]
    assert "AISystemUsed" in label(by_url.content)
    held = await client.get(f"/128x64.{form}?text=a&placeholder", headers={"if-none-match": by_url.headers["etag"]})
    assert (held.status_code, held.content) == (304, b"")
    head = await client.head(f"/128x64.{form}?text=a&placeholder")
    assert (head.content, _headers(head)) == (b"", _headers(by_url))


async def test_a_placeholder_is_drawn_once(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await client.get(f"/api/images/{kept.key}?placeholder")

    async def draw_placeholder(*_: Any, **__: Any) -> bytes:
        raise AssertionError("drawn again")

    monkeypatch.setattr(services.images, "draw_placeholder", draw_placeholder)
    assert (await client.get(f"{PICTURE}&placeholder")).content == first.content


async def test_a_placeholder_makes_no_picture(client: httpx.AsyncClient, services: MemoryServices) -> None:
    answer = await client.get(f"{PICTURE}&placeholder")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_generated")
    assert services.image_provider.submits == 0


@pytest.mark.parametrize("query", ["placeholder=0", "placeholder=yes", "placeholder&w=32", "q=85&placeholder"])
async def test_a_placeholder_has_one_form(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"{PICTURE}&{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_display")


async def test_a_picture_without_a_placeholder_says_so(
    client: httpx.AsyncClient, services: MemoryServices, kept: Kept
) -> None:
    for row in services.ledger._entries.values():
        row.entry = replace(row.entry, placeholder=None)
    answer = await client.get(f"{PICTURE}&placeholder")
    assert (answer.status_code, "not known yet" in answer.json()["detail"]) == (404, True)
    assert "x-copperplate-placeholder" not in (await client.get(PICTURE)).headers
    assert (await client.get(f"/api/images/{kept.key}/info.json")).json()["placeholder"] is None


async def test_the_header_is_on_every_answer_with_the_picture(client: httpx.AsyncClient, kept: Kept) -> None:
    header = kept.answer.headers["x-copperplate-placeholder"]
    thumbhash, color = header.removeprefix("thumbhash=:").split(":, color=")
    assert 15 <= len(base64.b64decode(thumbhash, validate=True)) <= 32
    assert (color[:2], color[-1], len(color)) == ('"#', '"', 9)
    held = {"if-none-match": kept.answer.headers["etag"]}
    for answer in (await client.get(PICTURE), await client.head(PICTURE), await client.get(PICTURE, headers=held)):
        assert answer.headers["x-copperplate-placeholder"] == header
        assert "X-Copperplate-Placeholder" in answer.headers["access-control-expose-headers"]


async def test_every_answer_names_the_generation(client: httpx.AsyncClient, kept: Kept) -> None:
    """The first answer of a form too, which is kept a moment later or finds no place."""
    held = {"if-none-match": kept.answer.headers["etag"]}
    form = "/128x64.webp?text=a&w=16&q=40"
    answers = [
        *(kept.answer, await client.get(form), await client.get(form), await client.head(PICTURE)),
        *(await client.get(PICTURE, headers=held), await client.get(f"{PICTURE}&placeholder")),
        *[await client.get(f"/api/images/{name}") for name in (kept.generation_key, kept.path, kept.key)],
    ]
    for answer in answers:
        assert answer.headers["x-copperplate-generation-key"] == kept.generation_key
        assert "X-Copperplate-Generation-Key" in answer.headers["access-control-expose-headers"]


# --- what is known of it -------------------------------------------------------------------------


async def test_info_names_every_form(client: httpx.AsyncClient, services: MemoryServices, kept: Kept) -> None:
    small = await client.get("/128x64.webp?text=a&w=32&q=40")
    answer = await client.get(f"/api/images/{kept.key}/info.json")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    info = answer.json()
    header = kept.answer.headers["x-copperplate-placeholder"]
    assert header == 'thumbhash=:{thumbhash}:, color="{color}"'.format(**info["placeholder"])
    assert (info["key"], info["generation_key"], info["kind"]) == (kept.key, kept.generation_key, "image")
    assert (info["width"], info["height"]) == (128, 64)
    assert info["original"]["format"] == "png"
    assert info["original"]["file_size"] == len(await services.store.get(kept.original_path))
    assert info["provenance"]["model"] == info["model"]
    assert info["provenance"]["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    forms = {(form["format"], form["width"], form["height"], form["quality"]): form for form in info["renditions"]}
    assert {("jpg", 128, 64, 85), ("webp", 32, 16, 40)} <= forms.keys()
    assert forms["webp", 32, 16, 40]["file_size"] == len(small.content)
    assert info["webp"]["url"] == forms["webp", 128, 64, 85]["url"]
    for form in (info, info["webp"], *forms.values()):
        shown = await client.get(form["url"])
        assert shown.status_code == 200
        assert form is info or len(shown.content) == form["file_size"]
    assert services.image_provider.submits == 1


async def test_info_does_not_promise_a_label_that_is_switched_off(client: httpx.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    assert (
        "where COPPERPLATE_PROVENANCE is xmp"
        in (schemas["ProvenanceOut"]["properties"]["digital_source_type"]["description"])
    )


async def test_info_has_head_and_options(client: httpx.AsyncClient, kept: Kept) -> None:
    url = f"/api/images/{kept.path}/info.json"
    head = await client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert (await client.options(url)).headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    for method in ("POST", "DELETE"):
        refused = await client.request(method, url)
        assert (refused.status_code, refused.headers["allow"], refused.json()["detail"]) == (405, "GET", "Use GET.")


async def test_memoji_are_kept_pictures_too(client: httpx.AsyncClient, services: MemoryServices) -> None:
    request = memoji_request({"size": "128x128"}, provider=services.provider_of("memoji"))
    made = await services.coordinator.find(request, GENERATE)
    answer = await client.get(f"/api/images/{request.generation_key}?w=32&format=webp")
    assert (answer.status_code, answer.headers["content-type"], _size(answer)) == (200, "image/webp", (32, 32))
    whole = await client.get(f"/api/images/memoji-images/{made.entry.path}")
    assert (whole.headers[KEY], whole.headers["content-type"]) == (request.rendition_key, "image/png")
    assert (await client.get(f"/api/images/{request.generation_key}/info.json")).json()["kind"] == "memoji"
    assert (await services.coordinator.find(request, LOOK_ONLY)).outcome is Outcome.HIT
