"""Crowds who bring one picture to several servers, over Postgres and a stand-in for fal: one call, one upload."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from PIL import Image

from bench.harness.floods import (
    BEHIND_PROXY,
    OF_A_BUSY_MACHINE,
    PAUSE_SECONDS,
    SCALED,
    Book,
    bury_the_dead,
    count_codes,
    serving,
)
from copperplate.access.api_keys import make_key
from copperplate.api_keys import Scope
from copperplate.ports.access import NewApiKey
from tests.standin.fal_endpoints import ENDPOINTS
from tests.support import log_watch
from tests.support.postgres_fixtures import making_databases, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.harness.floods import Crowd, Deadly, Reply
    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin

PEOPLE = 100
SERVERS = 4
PHOTO_BYTES = 8 * 1024 * 1024
UPSCALE = "/api/process/upscale"
WIDE = {"COPPERPLATE_DAILY_BUDGET_USD": "1000000", "COPPERPLATE_ANONYMOUS_BUDGET_USD": "1000000"}
JSON = {"Accept": "application/json", "Content-Type": "application/json"}


class Place:
    """Servers over one database and one folder, what they were asked, and what they asked of the stand-in."""

    def __init__(self, url: str, crowd: Crowd, servers: list[Deadly], standin: Standin) -> None:
        self.url = url
        self.crowd = crowd
        self.servers = servers
        self.standin = standin

    @property
    def calls(self) -> int:
        posts = self.standin.scenario_log.posts
        return sum(count for app, count in posts.items() if app in ENDPOINTS)

    @property
    def uploads(self) -> int:
        return len(self.standin.scenario_log.uploads)

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send it until there is an answer that stays, as a patient front end does."""
        while True:
            reply = await self.crowd.ask(target, headers, "POST", body)
            if reply.status != 0 and reply.code not in OF_A_BUSY_MACHINE:
                return reply
            await asyncio.sleep(PAUSE_SECONDS)


@contextmanager
def placed(
    cluster: Cluster, standin: Standin, folder: Path, crash_at: Sequence[str], **settings: str
) -> Iterator[Place]:
    fal = {
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        "COPPERPLATE_FAL_REST_URL": standin.url,
        "COPPERPLATE_PUBLIC_BASE_URL": "https://pictures.example.com",
    }
    with making_databases(cluster) as make:
        url = cluster.url(database=make())
        with serving(folder, url, crash_at, **fal, **WIDE, **BEHIND_PROXY, **SCALED, **settings) as (crowd, servers):
            yield Place(url, crowd, servers, standin)
        for server in servers:
            log_watch.read(server.log)


@pytest.fixture(scope="module")
def servers(cluster: Cluster, standin_server: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed(cluster, standin_server, tmp_path_factory.mktemp("processing"), [""] * SERVERS) as running:
        yield running


@pytest.fixture
def place(servers: Place, standin: Standin) -> Place:
    assert standin is servers.standin
    servers.crowd.seen.clear()
    return servers


def picture(name: str) -> bytes:
    """A small picture of its own, as a jpg."""
    seed = hashlib.sha256(name.encode()).digest()
    small = Image.frombytes("RGB", (3, 3), (seed * 2)[:27])
    body = io.BytesIO()
    small.resize((96, 64), Image.Resampling.BICUBIC).save(body, "JPEG")
    return body.getvalue()


def form(body: bytes, number: int) -> tuple[dict[str, str], bytes]:
    """The picture as the form of one of many pages: another file name, other fields, in another order."""
    boundary = f"----page{number}"
    file = (
        f'Content-Disposition: form-data; name="file"; filename="holiday {number}.png"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + body
    others = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in (("album", f"summer {number}"), ("scale", "2.0" if number % 2 else "2"))
    ]
    parts = [file, *others] if number % 3 else [*others, file]
    content = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "X-Forwarded-For": f"2001:db8:7:{number:x}::1",
    }
    return headers, content + f"--{boundary}--\r\n".encode()


async def key_of(place: Place) -> dict[str, str]:
    """The headers of a caller with an API key of their own."""
    made = make_key()
    async with opened(place.url) as ledger:
        await ledger.create_api_key(
            NewApiKey(
                prefix=made.prefix,
                digest=made.digest,
                name=f"a front end {uuid4()}",
                tier="standard",
                scopes=frozenset({Scope.GENERATE}),
            )
        )
    return {"X-API-Key": made.text}


def shown(reply: Reply) -> tuple[int, int]:
    """The size of the picture that an answer is."""
    with Image.open(io.BytesIO(reply.body)) as image:
        image.load()
        return image.size


async def test_hundred_people_who_bring_one_file_at_once_cost_one_call_and_one_upload(place: Place) -> None:
    body = picture("hundred people")
    asked = [form(body, number) for number in range(PEOPLE)]
    replies = await asyncio.gather(
        *(place.post(UPSCALE, {**headers, "Accept": "image/*"}, content) for headers, content in asked)
    )
    assert count_codes(replies) == {"200": PEOPLE}, count_codes(replies)
    assert (place.calls, place.uploads) == (1, 1)
    assert len({reply.body for reply in replies}) == 1
    assert shown(replies[0]) == (192, 128)
    # Brought again by others, under other names: stored, and nothing is asked of the provider.
    again = await asyncio.gather(
        *(place.post(UPSCALE, {**headers, "Accept": "image/*"}, content) for headers, content in asked[:8])
    )
    assert {(reply.status, reply.headers["x-cache"]) for reply in again} == {(200, "HIT")}
    assert (place.calls, place.uploads) == (1, 1)


async def test_hundred_people_who_bring_one_photo_of_eight_megabytes_are_all_answered(place: Place) -> None:
    # What follows the end of a jpg is no pixel, and comes with the file.
    photo = picture("a photo") + bytes(PHOTO_BYTES)
    asked = [{**form(b"", number)[0], "Content-Type": "image/jpeg"} for number in range(PEOPLE)]
    # Once: a server that refuses to read a body may close the connection, which is no answer.
    replies = await asyncio.gather(*(place.crowd.ask(UPSCALE, headers, "POST", photo) for headers in asked))
    assert count_codes(replies) == {"200": PEOPLE}, count_codes(replies)
    assert (place.calls, place.uploads) == (1, 1)


async def test_a_known_file_of_ones_own_is_one_request_without_a_body(place: Place) -> None:
    body, key = picture("one's own"), await key_of(place)
    made = json.loads((await place.post(UPSCALE, {**key, "Content-Type": "image/jpeg"}, body)).body)
    digest = hashlib.sha256(body).hexdigest()
    assert (made["image_hash"], made["cached"]) == (digest, False)
    found = await place.crowd.ask(f"{UPSCALE}/{digest}", {**key, "Accept": "image/*"})
    assert (found.status, shown(found)) == (200, (192, 128))
    stranger = await place.crowd.ask(f"{UPSCALE}/{digest}", {})
    assert stranger.status == 200
    assert b"http" not in stranger.body
    assert "://" not in json.dumps(dict(stranger.headers))
    assert (place.calls, place.uploads) == (1, 1)


async def test_chain_of_three_steps_is_sent_by_its_caller_once_and_to_the_provider_once_a_step(place: Place) -> None:
    body, key = picture("chain"), await key_of(place)
    first = json.loads((await place.post(UPSCALE, {**key, "Content-Type": "image/jpeg"}, body)).body)
    lengths = [len(body)]
    last = first
    for operation in ("face-detail", "remove-background"):
        said = json.dumps({"source": last["key"]}).encode()
        lengths.append(len(said))
        reply = await place.post(f"/api/process/{operation}", {**key, **JSON}, said)
        assert reply.status == 200, reply
        last = json.loads(reply.body)
    assert max(lengths[1:]) < 100
    # A folder has no addresses that a provider could load: each step's input is sent to it once.
    assert (place.calls, place.uploads) == (3, 3)
    # The same chain by whoever brings the bytes of the second step: known, by their digest alone.
    image = await place.crowd.ask(f"{UPSCALE}/{first['image_hash']}", {**key, "Accept": "image/*"})
    again = await place.post("/api/process/face-detail", {**key, "Content-Type": "image/png"}, image.body)
    assert json.loads(again.body)["cached"] is True
    assert (place.calls, place.uploads) == (3, 3)


async def test_two_operations_on_one_file_do_not_wait_for_each_other(place: Place) -> None:
    body = picture("two operations")
    place.standin.scenario_log.tell("fal-ai/seedvr/upscale/image", "held")
    headers = {"Content-Type": "image/jpeg"}
    slow = asyncio.create_task(place.post(UPSCALE, headers, body))
    quick = await place.post("/api/process/remove-background", headers, body)
    assert quick.status == 200
    assert not slow.done()
    place.standin.scenario_log.release()
    assert (await slow).status == 200
    assert place.calls == 2


# From the lease to the settlement; the input is sent to fal between the first two.
POINTS = ["acquired", "announced", "noted", "intended"]
MORTALS = 40


async def test_servers_that_die_while_they_process_pay_once_where_the_job_was_noted(
    cluster: Cluster, standin: Standin, tmp_path: Path
) -> None:
    with placed(cluster, standin, tmp_path, [*POINTS, ""]) as place:
        burying = asyncio.create_task(bury_the_dead(place.servers, place.crowd))
        replies: list[Reply] = []
        # One after the other: a server that dies while it sends another's would have that one sent a second time.
        bodies: list[bytes] = []
        while not all(server.has_died for server in place.servers[:-1]):
            assert len(bodies) < MORTALS
            bodies.append(picture(f"mortal {len(bodies)}"))
            asked = [form(bodies[-1], 2 * len(bodies) + number) for number in range(2)]
            replies += await asyncio.gather(*(place.post(UPSCALE, headers, content) for headers, content in asked))
        burying.cancel()
        assert count_codes(replies) == {"200": 2 * len(bodies)}
        assert place.calls == len(bodies)
        book = Book.read(place.url)
        assert (book.pictures, book.faults) == (len(bodies), [])
