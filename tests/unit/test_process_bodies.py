"""Bodies that bring a picture: hostile forms, too many bytes, and slow ones."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.http import process_bodies
from copperplate.http.multipart_forms import MAX_FIELD_BYTES, MAX_OTHER_BYTES, MAX_PARTS, MultipartForm
from copperplate.processing import upload_budget
from copperplate.processing.upload_budget import UploadBudget
from tests.support.api_keys import keep_key
from tests.support.memory_services import memory_services
from tests.support.processing_http import PICTURE, PNG, UP, client_of, is_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.support.memory_services import MemoryServices

BOUNDARY = "x-y"
DELIMITER = b"--x-y\r\n"
END = b"--x-y--\r\n"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\n'
SCALE = b'Content-Disposition: form-data; name="scale"\r\n\r\n2\r\n'


def part(headers: bytes = FILE, content: bytes = PICTURE) -> bytes:
    """One part of a form."""
    return DELIMITER + headers + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + END


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services()
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


async def post(client: httpx.AsyncClient, body: Any, content_type: str = "") -> httpx.Response:
    sent = content_type or f"multipart/form-data; boundary={BOUNDARY}"
    return await client.post(UP, content=body, headers={"content-type": sent})


WELL_FORMED = {
    "as usual": form(part()),
    "with a preamble of lines": b"\r\n\r\n" + form(part()),
    "with an epilogue": form(part()) + b"what follows is not read",
    "a name without quotes": form(part(b"Content-Disposition: form-data; name=file\r\n")),
    "names of headers in any case": form(part(b'CONTENT-disposition: FORM-DATA; name="file"\r\n')),
    "fields before": form(DELIMITER + SCALE, part()),
    "fields after": form(part(), DELIMITER + SCALE),
    "another file": form(part(FILE.replace(b'"file"', b'"thumbnail"'), b"other" * 99), part()),
    "a name that is a path": form(part(FILE.replace(b"a.png", b"../../../etc/passwd"))),
    "a name with a zero byte": form(part(FILE.replace(b"a.png", b"a\0.png"))),
    "a name that is long": form(part(FILE.replace(b"a.png", b"a" * 3_000))),
    "an extended name, which is ignored": form(part(FILE.replace(b"\r\n", b"; filename*=UTF-8''%2e%2e%2f\r\n"))),
}


@pytest.mark.parametrize("name", WELL_FORMED)
async def test_forms_are_read_whatever_their_files_are_called(
    client: httpx.AsyncClient, services: MemoryServices, name: str
) -> None:
    answer = await post(client, WELL_FORMED[name])
    assert (answer.status_code, services.cleaner.cleaned) == (200, [PICTURE]), answer.text


MALFORMED = {
    "empty": b"",
    "only an end": END,
    "no file": form(DELIMITER + SCALE),
    "no end": part(),
    "an end that is cut": form(part())[:-4],
    "cut in the headers": DELIMITER + FILE,
    "cut in a header": DELIMITER + FILE[:20],
    "another boundary": form(part()).replace(b"x-y", b"z-z"),
    "a boundary that is longer": b"--x-yz\r\n" + form(part())[7:],
    "two files": form(part(), part()),
    "no disposition": form(part(b"Content-Type: image/png\r\n")),
    "another disposition": form(part(b'Content-Disposition: attachment; name="file"\r\n')),
    "no name": form(part(b'Content-Disposition: form-data; filename="file"\r\n')),
    "two dispositions": form(part(FILE + FILE)),
    "a flood of headers": form(part(FILE + b"".join(b"X-%d: 1\r\n" % n for n in range(100)))),
    "a header without end": form(part(FILE + b"X: " + b"y" * 9_000 + b"\r\n")),
    "a header without colon": form(part(b"nonsense\r\n" + FILE)),
    "a header with a zero byte in its name": form(part(b"X\0Y: 1\r\n" + FILE)),
    "headers by line feeds alone": form(part(FILE.replace(b"\r\n", b"\n"))),
    "a folded header": form(part(b'Content-Disposition: form-data;\r\n name="file"\r\n')),
    "a flood of parts": form(*[part(SCALE[:-7] + b"\r\n", b"2")] * (MAX_PARTS + 1), part()),
    "a flood of files": form(*[part(FILE.replace(b'"file"', b'"f"'), b"")] * 1_000, part()),
    "a field that is no text": form(part(), part(b'Content-Disposition: form-data; name="note"\r\n', b"\xff\xfe")),
    "nested": form(
        part(
            b'Content-Disposition: form-data; name="files"\r\nContent-Type: multipart/mixed; boundary=in\r\n',
            b"--in\r\n" + FILE + b"\r\n" + PICTURE + b"\r\n--in--",
        )
    ),
    "a field twice": form(DELIMITER + SCALE, DELIMITER + SCALE, part()),
    "lookalikes of the boundary": form(part(FILE, b"\r\n--x-y!" * 100_000)),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_forms_are_refused_and_nothing_is_decoded(
    client: httpx.AsyncClient, services: MemoryServices, name: str
) -> None:
    answer = await post(client, MALFORMED[name])
    assert is_problem(answer, 400, "invalid_parameter" if name == "a field twice" else "invalid_body"), answer.text
    assert (services.cleaner.cleaned, services.processor.submits) == ([], 0)


TOO_LARGE = {
    "a field": form(part(), part(b'Content-Disposition: form-data; name="note"\r\n', b"x" * (MAX_FIELD_BYTES + 1))),
    "other files": form(part(FILE.replace(b'"file"', b'"f"'), b"x" * (MAX_OTHER_BYTES + 1)), part()),
    "an epilogue": form(part()) + b"x" * MAX_OTHER_BYTES,
    "a preamble": b"\r\n" * MAX_OTHER_BYTES + form(part()),
}


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_what_is_beside_the_file_is_bounded(
    client: httpx.AsyncClient, services: MemoryServices, name: str
) -> None:
    assert is_problem(await post(client, TOO_LARGE[name]), 413, "body_too_large")
    assert services.cleaner.cleaned == []


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        f"multipart/form-data; boundary={'x' * 71}",
        "multipart/form-data; boundary*=utf-8''x-y",
    ],
)
async def test_a_form_without_a_boundary_is_refused(client: httpx.AsyncClient, content_type: str) -> None:
    assert is_problem(await post(client, form(part()), content_type), 400, "invalid_body")


async def test_forms_are_read_alike_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(15)
    body = form(
        DELIMITER + SCALE, part(FILE, PICTURE + b"\r\n--x-\r\n\r\n--x-y?" + PICTURE), part(SCALE[:-7] + b"\r\n")
    )
    for _ in range(300):
        made = MultipartForm(f"multipart/form-data; boundary={BOUNDARY}", max_file_bytes=1_000)
        cuts = sorted(chance.sample(range(1, len(body)), chance.randint(0, 9)))
        for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
            made.write(body[begin:end])
        file, fields = made.finish()
        assert file == PICTURE + b"\r\n--x-\r\n\r\n--x-y?" + PICTURE
        assert (fields, made.repeated) == ({"scale": "2"}, frozenset({"scale"}))


async def test_damaged_forms_never_fail_otherwise_than_by_a_refusal(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    chance = random.Random(16)
    whole = form(DELIMITER + SCALE, part())
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        answer = await post(client, bytes(damaged))
        assert answer.status_code in (200, 400), (bytes(damaged), answer.text)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Files are small: so many bytes."""
    monkeypatch.setattr(process_bodies, "MAX_FILE_BYTES", 1_000)
    return 1_000


async def chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    """Without Content-Length."""
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def test_bytes_are_bounded_while_they_are_read(
    client: httpx.AsyncClient, services: MemoryServices, small: int
) -> None:
    assert (await client.post(UP, content=b"x" * small, headers=PNG)).status_code == 200
    assert (await post(client, form(part(FILE, b"y" * small)))).status_code == 200
    for body in (b"x" * (small + 1), chunks(b"x" * (small + 1), 100)):
        answer = await client.post(UP, content=body, headers=PNG)
        assert is_problem(answer, 413, "body_too_large")
        assert "1,000 bytes" in answer.json()["detail"]
    for form_body in (form(part(FILE, b"y" * (small + 1))), chunks(form(part(FILE, b"y" * (small + 1))), 100)):
        assert is_problem(await post(client, form_body), 413, "body_too_large")
    assert [len(body) for body in services.cleaner.cleaned] == [small, small]


async def test_nothing_is_read_of_a_body_that_says_it_is_too_large(client: httpx.AsyncClient, small: int) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"x"

    for length in (str(small + 1), "9" * 30):
        answer = await client.post(UP, content=body(), headers={**PNG, "content-length": length})
        assert is_problem(answer, 413, "body_too_large")
    assert read == []


async def test_on_vercel_a_larger_file_is_sent_directly() -> None:
    services = memory_services(environ={"VERCEL": "1", "VERCEL_URL": "pictures.test"})
    async with client_of(services) as client:
        answer = await client.post(UP, content=b"x" * 4_400_001, headers=PNG)
        assert is_problem(answer, 413, "body_too_large")
        assert "4,400,000 bytes" in answer.json()["detail"]
        assert "POST /api/process/uploads" in answer.json()["detail"]
        assert (await client.get("/api/process")).json()["limits"]["max_file_bytes"] == 4_400_000
    await services.request_meter.close()


async def test_an_empty_body_is_refused(client: httpx.AsyncClient) -> None:
    assert is_problem(await client.post(UP, content=b"", headers=PNG), 400, "invalid_body")


@pytest.mark.parametrize("first", [b"", PICTURE])
async def test_a_body_that_stands_still_is_ended(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(process_bodies, "READ_SECONDS" if first else "FIRST_BYTE_SECONDS", 0.05)

    async def body() -> AsyncIterator[bytes]:
        if first:
            yield first
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        answer = await client.post(UP, content=body(), headers=PNG)
    assert is_problem(answer, 400, "invalid_body")
    assert ("slowly" if first else "did not begin") in answer.json()["detail"]


async def test_a_body_that_comes_steadily_may_take_longer(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_bodies, "READ_SECONDS", 0.5)
    monkeypatch.setattr(process_bodies, "MIN_BYTES_PER_SECOND", 1)

    async def body() -> AsyncIterator[bytes]:
        yield PICTURE
        await asyncio.sleep(0.7)
        yield PICTURE

    assert (await client.post(UP, content=body(), headers=PNG)).status_code == 200


@pytest.fixture
def budget(services: MemoryServices) -> UploadBudget:
    """One upload is read at once, and a hundred bytes of them are held."""
    services.processing.sources.budget = UploadBudget(max_read_at_once=1, max_held_bytes=100)
    return services.processing.sources.budget


async def test_more_uploads_than_may_be_read_at_once_are_sent_away(
    client: httpx.AsyncClient, services: MemoryServices, budget: UploadBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_budget, "ROOM_SECONDS", 0.05)
    go = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 40
        await go.wait()
        yield b"x" * 40

    first = asyncio.create_task(client.post(UP, content=body(), headers=PNG))
    while budget.held_bytes < 40:
        await asyncio.sleep(0)
    other = (await keep_key(services.ledger)).text  # who shares nothing with the first
    second = await client.post(UP, content=PICTURE, headers={**PNG, "x-api-key": other})
    assert is_problem(second, 503, "too_many_uploads")
    assert second.headers["retry-after"] == "5"
    go.set()
    assert (await first).status_code == 200
    services.processor.inputs.clear()  # the stand-in remembers what it was given
    assert (await client.post(UP, content=PICTURE, headers=PNG)).status_code == 200
    assert is_problem(await client.post(UP, content=b"x" * 101, headers=PNG), 503, "too_many_uploads")
    services.processor.inputs.clear()
    assert budget.held_bytes == 0
