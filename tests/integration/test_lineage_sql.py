"""The questions of `sql/` about lineage, over a picture, what was made from it, and what was made from that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.model import Outcome
from tests.contract.ledger.harness import lead, request_count
from tests.contract.ledger.lineage import CROP, LAST, LAST_SOURCE, MIDDLE, MIDDLE_SOURCE, ROOT
from tests.contract.ledger.source_pictures import asked, source
from tests.integration.test_sql_files import FOLDER
from tests.support.pictures import upload

if TYPE_CHECKING:
    import psycopg

    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.model import PictureRequest


async def make(ledger: PostgresLedger, wanted: PictureRequest, cost: int) -> None:
    key, fence = wanted.generation_key, (await lead(ledger, wanted)).fence
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="painter", estimate_micro_usd=9_000)
    assert await ledger.intend_upload(key, fence, upload(key), usage={}, cost_micro_usd=cost)
    assert await ledger.complete(key, fence, upload(key), url=None)


@pytest.fixture
async def line(ledger: PostgresLedger) -> None:
    """Three in a line, and one from a picture that somebody brought."""
    await make(ledger, ROOT, 4_000)
    for noted, made, cost in (
        (MIDDLE_SOURCE, MIDDLE, 2_000),
        (LAST_SOURCE, LAST, 1_000),
        (source(), asked(source()), 500),
    ):
        await ledger.note_source(noted, owner="key:a")
        await make(ledger, made, cost)


@pytest.mark.usefixtures("line")
def test_lineage_of_picture(editor: psycopg.Connection[dict[str, Any]]) -> None:
    text = (FOLDER / "lineage_of_picture.sql").read_text()
    question = text.replace(text.split("select '")[1].split("'")[0], MIDDLE.generation_key)
    rows = editor.execute(question.encode()).fetchall()
    assert [(row["depth"], row["key"], row["operation"]) for row in rows] == [
        (-1, ROOT.generation_key, None),
        (0, MIDDLE.generation_key, "remove-background"),
        (1, LAST.generation_key, "upscale"),
    ]
    assert (rows[1]["parent_key"], rows[1]["relation"]) == (ROOT.generation_key, "cropped")
    assert rows[1]["crop"] == [CROP.left, CROP.top, CROP.width, CROP.height]


@pytest.mark.usefixtures("line")
async def test_spend_by_lineage(ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]) -> None:
    hits = replace(request_count(LAST, Outcome.HIT, 3), kind="processed", model="painter/enlarge")
    await ledger.record_usage([hits])
    question = (FOLDER / "spend_by_lineage.sql").read_bytes()
    root, brought = editor.execute(question).fetchall()
    assert (root["root"], root["generations"], root["submits"], root["unpriced"]) == (ROOT.generation_key, 3, 3, 0)
    assert (float(root["spent_usd"]), float(root["saved_usd"])) == (0.007, 0.003)
    assert (brought["root"], float(brought["spent_usd"])) == (source().digest, 0.0005)
    # What is in the middle grew old: the last one is still of the same picture.
    editor.execute("delete from public.generation_status where prompt_hash = %s", (MIDDLE.generation_key,))
    spent = {row["root"]: float(row["spent_usd"]) for row in editor.execute(question).fetchall()}
    assert spent == {ROOT.generation_key: 0.005, MIDDLE.generation_key: 0.002, source().digest: 0.0005}
