"""Databases that a measurement uses, and pictures put into them without a provider."""

from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.system_clock import SystemClock
from copperplate.compose import make_provider
from copperplate.http.picture_urls import PictureUrls
from copperplate.imaging.pillow_images import PillowImages
from copperplate.ledger_answers import Lead
from copperplate.local.cluster import Cluster, find_running, ignore
from copperplate.local.stack import prepare
from copperplate.model import Entry, OriginalUpload, PictureRequest
from copperplate.recipes.kinds import IMAGE
from copperplate.recipes.objects import object_path, rendition_upload
from copperplate.services import require_provider
from copperplate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness.figures import Run
    from copperplate.adapters.ledger.sql_ledger import SqlLedger


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


@contextlib.contextmanager
def cluster(run: Run, *, is_durable: bool = True) -> Iterator[Cluster]:
    """A migrated database of this measurement alone, in a data folder of its own."""
    with Cluster.start(run.folder / f"data-{uuid4().hex[:8]}", is_durable=is_durable) as started:
        prepare(started, ignore)
        yield started


def query(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode(), values).fetchall()


def url_of(data_dir: Path) -> str:
    """The database that `copperplate dev` runs on a folder."""
    running = find_running(data_dir)
    assert running is not None, "no database runs there"
    return running.owner_url


def request_of(path: str, text: str, **variables: str) -> PictureRequest:
    """What a server with these variables makes of a picture's URL."""
    settings = Settings.from_env(variables)
    urls = PictureUrls(require_provider(IMAGE.name, make_provider(IMAGE.name, settings, SystemClock())))
    requested = urls.read(path, f"text={text}".encode())
    assert requested is not None
    return requested.picture_request


async def put_picture(data_dir: Path, database_url: str, picture_request: PictureRequest, size_bytes: int) -> bytes:
    """Store a picture of exactly `size_bytes`, as a leader does; hits never look inside it, and others at its start."""
    body = JPEG + os.urandom(size_bytes - len(JPEG))
    store = FolderStore(data_dir / "objects", IMAGE.bucket)
    ledger = PostgresLedger(database_url, max_connections=1)
    await ledger.open()
    try:
        original = _upload(picture_request, b"original of " + body[:64], "png")
        lead = await ledger.acquire(picture_request, leader=uuid4(), lease_duration=timedelta(seconds=20))
        assert isinstance(lead, Lead)
        entry = await complete(ledger, picture_request, lead, original)
        assert entry is not None
        rendition = rendition_upload(
            picture_request,
            digest=sha256(body).hexdigest(),
            size_bytes=len(body),
            now=SystemClock().now(),
            nonce=uuid4().hex,
            encoder_version=PillowImages().encoder_version,
        )
        await ledger.intend_rendition(entry, rendition)
        await store.put(rendition.path, body, media_type=picture_request.rendition.format.media_type)
        recorded = await ledger.record_rendition(entry, rendition)
        # Refused, the server would quietly make a picture of its own, and that would be measured.
        assert recorded is not None
        assert recorded.path == rendition.path
    finally:
        await ledger.close()
    return body


async def complete(
    ledger: SqlLedger, picture_request: PictureRequest, lead: Lead, original: OriginalUpload
) -> Entry | None:
    """Take a leader's steps, to the completion of an original."""
    await ledger.begin_submit(picture_request.generation_key, lead.fence, submit_no=1, provider="painter")
    await ledger.intend_upload(picture_request.generation_key, lead.fence, original, usage={})
    return await ledger.complete(picture_request.generation_key, lead.fence, original, url=None)


def _upload(picture_request: PictureRequest, body: bytes, extension: str) -> OriginalUpload:
    digest = sha256(body).hexdigest()
    return OriginalUpload(
        path=object_path(SystemClock().now(), digest, picture_request.rendition_key, uuid4().hex, extension),
        digest=digest,
        size_bytes=len(body),
        format=extension,
        width=picture_request.size.width,
        height=picture_request.size.height,
    )


def make_upload(picture_request: PictureRequest) -> OriginalUpload:
    """An original that is never read."""
    return _upload(picture_request, uuid4().bytes, "png")
