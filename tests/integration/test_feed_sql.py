"""The feed of invalidations in SQL: whatever takes an entry away is told, and little is written for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from copperplate.recipes.memoji import MemojiRecipe, request_of
from tests.contract.ledger.feed import start
from tests.contract.ledger.forms import form
from tests.contract.ledger.harness import WEBP, complete, record
from tests.contract.ledger.source_pictures import CUT_OUT, KEY, asked, source
from tests.support.many_pictures import fill_pictures

if TYPE_CHECKING:
    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.local.cluster import Cluster

    Editor = psycopg.Connection[dict[str, Any]]

IMAGE, MEMOJI = form(), request_of(MemojiRecipe(model="m", hair="short"))
PROCESSED = asked(source("photo"), CUT_OUT)
ALICE = UUID("6a1f9c5e-7b3d-4c11-8e55-1234567890ab")
EVERY = {IMAGE.generation_key, MEMOJI.generation_key, PROCESSED.generation_key}


@pytest.fixture
async def pictures(ledger: PostgresLedger) -> None:
    """One of each kind."""
    original = await complete(ledger, IMAGE, "image")
    for name, wanted in (("jpg", IMAGE), ("webp", form(WEBP)), ("coarse", form(WEBP, quality=40))):
        assert await record(ledger, original, wanted, name)
    await complete(ledger, MEMOJI, "memoji")
    await ledger.note_source(source("photo"), owner=KEY)
    await complete(ledger, PROCESSED, "processed")


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("delete from public.image_cache where format = 'webp'", {IMAGE.generation_key}),
        ("delete from public.image_renditions where quality = 40", {IMAGE.generation_key}),
        ("delete from public.memoji_cache", {MEMOJI.generation_key}),
        ("delete from public.processed_image_cache", {PROCESSED.generation_key}),
        ("delete from public.generation_status", EVERY),
        ("delete from copperplate.cache_entries", EVERY),
        ("truncate copperplate.cache_entries", {None}),
        ("truncate public.generation_status cascade", {None}),
        (
            "update copperplate.cache_entries set digest = repeat('0', 64) where kind = 'memoji'",
            {MEMOJI.generation_key},
        ),
        ("update copperplate.cache_entries set path = path, access_count = access_count + 1", set()),
        ("select public.cleanup_entries('image', p_older_than => '-1 day')", {IMAGE.generation_key}),
        (f"select public.take_down('{source('photo').digest}')", {PROCESSED.generation_key}),
        ("delete from public.generation_status where false", set()),
        ("delete from copperplate.source_owners", set()),
        (f"select public.forget_user('{ALICE}')", set()),
    ],
)
async def test_what_a_statement_takes_away_is_told(
    ledger: PostgresLedger, editor: Editor, statement: str, told: set[str | None]
) -> None:
    reader = await start(ledger)
    held = "select distinct generation_key from copperplate.cache_entries"
    before = {row["generation_key"] for row in editor.execute(held.encode())}
    assert before == EVERY
    editor.execute(statement.encode())
    assert {key for key, tier in await reader.keys() if tier is None} == told
    left = {row["generation_key"] for row in editor.execute(held.encode())}
    assert told == {None} or before - left <= told
    assert await reader.keys() == []


async def test_a_user_who_is_deleted_takes_no_picture_along_and_nothing_is_told(
    ledger: PostgresLedger, editor: Editor, cluster: Cluster, database: str
) -> None:
    await ledger.note_source(source("photo"), owner=f"user:{ALICE}")
    await complete(ledger, PROCESSED, "processed")
    reader = await start(ledger)
    with psycopg.connect(cluster.url("supabase_admin", database), autocommit=True) as superuser:
        superuser.execute("insert into auth.users (id, email) values (%s, 'alice@example.com')", [ALICE])
        superuser.execute("delete from auth.users where id = %s", [ALICE])
    assert editor.execute("select from copperplate.cache_entries").rowcount == 1
    assert await reader.keys() == []


async def test_a_statement_writes_one_row_a_generation(ledger: PostgresLedger, editor: Editor) -> None:
    original = await complete(ledger, IMAGE, "image")
    for quality in (40, 80):
        assert await record(ledger, original, form(WEBP, quality=quality), f"{quality}")
    keys = fill_pictures(editor, 1_000)
    reader = await start(ledger)
    editor.execute("delete from copperplate.cache_entries")
    assert editor.execute("select from copperplate.invalidations").rowcount == 1_001
    assert {key for key, _ in await reader.keys()} == {*keys, IMAGE.generation_key}


async def test_subtransactions_are_told_as_their_transaction_and_what_is_rolled_back_is_not(
    ledger: PostgresLedger, editor: Editor
) -> None:
    kept, caught, undone = fill_pictures(editor, 4)[:3]
    reader = await start(ledger)
    delete = "delete from public.generation_status where prompt_hash = '{}'"
    with editor.transaction():
        with editor.transaction():
            editor.execute(delete.format(kept).encode())
        with editor.transaction(force_rollback=True):
            editor.execute(delete.format(undone).encode())
        editor.execute(f"do $$ begin {delete.format(caught)}; exception when others then raise; end $$".encode())
        assert await reader.keys() == []
        row = editor.execute("select pg_current_xact_id()::text::bigint as transaction").fetchone()
        assert row is not None
    page = await reader.read()
    assert {each.generation_key for each in page.invalidations} == {kept, caught}
    assert {each.transaction for each in page.invalidations} == {row["transaction"]}
    with editor.transaction(force_rollback=True):
        editor.execute(delete.format(undone).encode())
    assert await reader.keys() == []


async def test_usage_forgets_what_is_old_by_and_by(ledger: PostgresLedger, editor: Editor) -> None:
    editor.execute("insert into copperplate.invalidations (generation_key) select n from generate_series(1, 1500) as n")
    editor.execute("update copperplate.feed_states set marked_at = marked_at - interval '2 days'")
    left: list[int] = []
    for _ in range(3):
        editor.execute("select copperplate.forget_invalidations(1000)")
        if not left:
            # What they were inserted by is in the snapshot of now.
            editor.execute("update copperplate.feed_states set marked_at = marked_at - interval '2 days'")
        left.append(editor.execute("select from copperplate.invalidations").rowcount)
    assert left == [1500, 500, 0]
    editor.execute("insert into copperplate.invalidations (generation_key) values ('a')")
    for _ in range(2):
        editor.execute("update copperplate.feed_states set marked_at = marked_at - interval '2 days'")
        editor.execute("select copperplate.forget_invalidations(1000)")
    assert editor.execute("select from copperplate.invalidations").rowcount == 0
    usage = "select pg_get_functiondef('public.record_usage'::regproc) ~ 'forget_invalidations' as is_called"
    assert editor.execute(usage.encode()).fetchone() == {"is_called": True}


async def test_two_that_forget_at_once_do_not_wait_for_each_other(editor: Editor, owner_url: str) -> None:
    with psycopg.connect(owner_url) as other:
        other.execute("select copperplate.forget_invalidations(10)")
        editor.execute("set lock_timeout = '1s'")
        editor.execute("select copperplate.forget_invalidations(10)")
        other.rollback()


def test_a_tier_that_nobody_knows_is_refused(editor: Editor) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="tier_is_known"):
        editor.execute("select public.invalidate_tiers(array['cdn'])")
