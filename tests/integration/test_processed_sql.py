"""Processed pictures in the SQL editor: the views, the questions in sql/, and the cleanup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.model import Outcome
from tests.contract.ledger.harness import complete, request_count
from tests.contract.ledger.source_pictures import ALICE, CUT_OUT, ENLARGE, KEY, asked, source
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    import psycopg

    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.processing_models import ProcessingModel

    Editor = psycopg.Connection[dict[str, Any]]

FOLDER = Path(__file__).parents[2] / "sql"
EXAMPLE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PHOTO, BARE = source("photo"), source("nothing came of it")


async def make(ledger: PostgresLedger, model: ProcessingModel, name: str, **given: str) -> str:
    """A result for the photo, used twice; answers its path."""
    request = asked(PHOTO, model, **given)
    await complete(ledger, request, name)
    await ledger.record_usage([replace(request_count(request, Outcome.HIT, 2), kind="processed")])
    return upload(name).path


def age(editor: Editor, interval: str) -> None:
    """Move every entry and source picture into the past."""
    for table in ("cache_entries", "source_pictures"):
        last = "last_accessed_at" if table == "cache_entries" else "last_used_at"
        editor.execute(
            f"update copperplate.{table} set created_at = created_at - %(by)s::interval,"
            f" {last} = {last} - %(by)s::interval".encode(),
            {"by": interval},
        )


@pytest.fixture
async def paths(ledger: PostgresLedger, editor: Editor) -> dict[str, str]:
    """By name, the results of a photo: an older and a newer enlargement, and one without its background."""
    for picture, owner in ((PHOTO, ALICE), (PHOTO, KEY), (BARE, None)):
        await ledger.note_source(picture, owner=owner)
    older = await make(ledger, ENLARGE, "older", scale="4")
    age(editor, "1 hour")
    return {
        "older": older,
        "newer": await make(ledger, ENLARGE, "newer"),
        "cut out": await make(ledger, CUT_OUT, "cut out"),
    }


async def test_each_result_is_a_row_of_the_cache(editor: Editor, paths: dict[str, str]) -> None:
    rows = editor.execute("select * from public.processed_image_cache order by timestamp").fetchall()
    assert list(rows[0])[:4] == ["image_hash", "operation", "result", "timestamp"]
    assert [row["result"] for row in rows] == [paths["older"], paths["newer"], paths["cut out"]]
    assert [row["operation"] for row in rows] == ["upscale", "upscale", "remove-background"]
    assert {row["image_hash"] for row in rows} == {PHOTO.digest}
    assert (rows[0]["parameters"], rows[0]["access_count"], rows[0]["dimensions"]) == (["scale=4"], 2, "64x64")


async def test_each_upload_is_a_row_with_the_newest_result_of_each_operation(
    editor: Editor, paths: dict[str, str]
) -> None:
    rows = {row["image_hash"]: row for row in editor.execute("select * from public.processed_uploads").fetchall()}
    photo, bare = rows[PHOTO.digest], rows[BARE.digest]
    assert list(photo)[:5] == ["image_hash", "bg_removed", "upscaled", "face_detailed", "timestamp"]
    assert (photo["bg_removed"], photo["upscaled"], photo["face_detailed"]) == (paths["cut out"], paths["newer"], None)
    assert (photo["width"], photo["height"], photo["format"], photo["file_size"]) == (640, 480, "gif", 5_000)
    newest = editor.execute("select max(timestamp) as newest from public.processed_image_cache").fetchone()
    assert newest is not None
    assert photo["timestamp"] == newest["newest"]
    assert (bare["bg_removed"], bare["upscaled"], bare["face_detailed"], bare["timestamp"]) == (None,) * 4


async def test_deleting_a_row_declares_the_result_wrong(
    ledger: PostgresLedger, editor: Editor, paths: dict[str, str]
) -> None:
    editor.execute("delete from public.processed_image_cache where result = %s", (paths["newer"],))
    # The one before it stands for the operation again.
    rows = editor.execute("select upscaled from public.processed_uploads where upscaled is not null").fetchall()
    assert rows == [{"upscaled": paths["older"]}]
    editor.execute("update copperplate.discarded_objects set discarded_at = discarded_at - interval '2 hours'")
    assert [each.path for each in await ledger.claim_discarded(10)] == [paths["newer"]]
    assert len(await ledger.find_results(PHOTO.digest)) == 2


async def test_questions_about_processed_pictures_are_answered(editor: Editor, paths: dict[str, str]) -> None:
    by_operation = editor.execute((FOLDER / "processed_by_operation.sql").read_bytes()).fetchall()
    figures = [(row["operation"], row["results"], row["uploads"], row["uses"]) for row in by_operation]
    assert figures == [("remove-background", 1, 1, 2), ("upscale", 2, 1, 4)]
    uploads = editor.execute((FOLDER / "uploads_and_results.sql").read_bytes()).fetchall()
    assert {(row["image_hash"], row["upscaled"], row["owners"]) for row in uploads} == {
        (PHOTO.digest, paths["newer"], f"{ALICE}, {KEY}"),
        (BARE.digest, None, None),
    }
    text = (FOLDER / "results_of_upload.sql").read_text()
    assert editor.execute(text.encode()).fetchall() == []
    results = editor.execute(text.replace(EXAMPLE, PHOTO.digest).encode()).fetchall()
    assert [row["result"] for row in results] == [paths["cut out"], paths["newer"], paths["older"]]


async def test_what_a_cleanup_of_processed_pictures_takes_is_told_before(
    ledger: PostgresLedger, editor: Editor, paths: dict[str, str]
) -> None:
    await complete(ledger, picture_request(), "an image")
    age(editor, "31 days")
    [unused] = editor.execute((FOLDER / "unused_uploads.sql").read_bytes()).fetchall()
    assert (unused["image_hash"], unused["file_size"]) == (BARE.digest, 5_000)
    expected = {"processed_pictures": len(paths), "bytes": 1_000 * len(paths)}
    for function, counts in (
        ("count_old_processed_images(interval '40 days')", {"processed_pictures": 0, "bytes": 0}),
        ("count_old_processed_images()", expected),
        ("cleanup_old_processed_images()", expected),
        ("cleanup_old_processed_images()", {"processed_pictures": 0, "bytes": 0}),
    ):
        assert editor.execute(f"select public.{function} as counts".encode()).fetchone() == {"counts": counts}
    assert editor.execute("select * from public.processed_uploads").fetchall() == []
    assert editor.execute("select * from copperplate.source_owners").fetchall() == []
    assert editor.execute("select kind from copperplate.cache_entries").fetchall() == [{"kind": "image"}]
