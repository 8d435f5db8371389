"""What asking the ledger costs, beside a bare look-up of the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import dict_row

from bench.harness.databases import cluster
from bench.harness.figures import ROOT, Figure, Run, median_figure, ratios
from bench.harness.pgbench import Statement, describe, per_second
from copperplate.local.bootstrap import create_database

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.local.cluster import Cluster

SIZES = (1_000, 1_000_000)
LEAST = {"peek": 0.8, "acquire": 0.6}
LEAST_HOT = 0.1
# More than are ever being made at once, however many rows there are.
IN_FLIGHT = 1_000

# Every statement derives both keys from :n, so that deriving them costs all of them the same.
KEY = "encode(sha256(:n::text::bytea), 'hex')"
JPG_KEY = "encode(sha256(('jpg' || :n::text)::bytea), 'hex')"
LEADER = "'6a1f9c5e-0000-4000-8000-000000000001'"
RECIPE = (
    '{"v": 1, "kind": "image", "prompt": "a picture", "width": 1024, "height": 1024, '
    '"model": "copperplate/painter-1", "seed": "", "settings": []}'
)
STATEMENTS = {
    "path": f"select p.path, {JPG_KEY} from public.paths as p where p.key = {KEY}",
    "answer": f"select a.*, {JPG_KEY} from public.answers as a where a.key = {KEY}",
    "peek": f"select * from public.peek_generation({KEY}, {JPG_KEY})",
    "acquire": f"select * from public.acquire_generation('{RECIPE}', {KEY}, {JPG_KEY}, {LEADER}, '20 s')",
}
EXPECTED = {"completed": "hit", "leased": "wait"}
UPSERT = (
    f"insert into public.leases as l values ({KEY}, {LEADER}, clock_timestamp() + interval '20 s') "
    "on conflict (key) do update set leader = excluded.leader, lease_until = excluded.lease_until "
    "where l.lease_until < clock_timestamp() returning l.leader"
)


def measure(run: Run) -> list[Figure]:
    """`peek_generation` and `acquire_generation` as a ratio to a primary-key look-up, at two sizes."""
    figures: list[Figure] = []
    # Nothing is written while these run, and filling takes half the time.
    with cluster(run, is_durable=False) as started:
        for rows in SIZES[: run.pick(2, 1)]:
            figures += _measure_random_keys(fill(started, rows, run), rows, run)
    # An upsert that refuses has to flush its row lock: only a durable cluster shows what that costs.
    with cluster(run) as started:
        return figures + _measure_hot_key(fill(started, SIZES[0], run), SIZES[0], run)


def fill(started: Cluster, rows: int, run: Run) -> str:
    """A database of so many generations, half of them completed, half leased; answers its URL."""
    run.say(f"filling a database with {rows:,} generations")
    name = f"with_{rows}"
    create_database(started.superuser_url, name, template="postgres")
    url = started.url(role="supabase_admin", database=name)
    script = (ROOT / "bench" / "harness" / "fill.sql").read_text(encoding="utf-8").replace("{rows}", str(rows))
    # Statement by statement: vacuum runs in no transaction.
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in "\n".join(line.partition("--")[0] for line in script.splitlines()).split(";"):
            if statement.strip():
                connection.execute(statement.encode())
    return url


def _measure_random_keys(url: str, rows: int, run: Run) -> list[Figure]:
    half = rows // 2
    return [
        *_measure_state("completed", 1, half, url, rows, run),
        *_measure_state("leased", half + 1, half + min(half, IN_FLIGHT), url, rows, run),
    ]


def _measure_state(state: str, first: int, last: int, url: str, rows: int, run: Run) -> list[Figure]:
    run.say(f"{rows:,} rows, {state} keys")
    _check_outcomes(url, (first, last), EXPECTED[state])
    statements = [Statement(name=name, sql=sql, first=first, last=last) for name, sql in STATEMENTS.items()]
    rates = per_second(statements, url, run.folder, rounds=run.pick(4, 1), seconds=run.pick(2, 1))
    where = f"{state} keys, {rows:,} rows"
    figures = [
        median_figure(
            ratios(rates[name], rates["answer"]), what=f"{name}, {where}", unit="ratio", how=_how(), at_least=least
        )
        for name, least in LEAST.items()
    ]
    figures += [
        median_figure(
            ratios(rates[name], rates["path"]),
            what=f"{name} to a two-column look-up, {where}",
            unit="ratio",
            how=_how(),
        )
        for name in LEAST
    ]
    return [*figures, median_figure(rates["answer"], what=f"the look-up itself, {where}", unit="/s", how=_how())]


def _check_outcomes(url: str, numbers: Iterable[int], expected: str) -> None:
    """Every statement must answer what it is timed for; another outcome would be timed just as well."""
    with psycopg.connect(url, autocommit=True, options="-c role=service_role", row_factory=dict_row) as connection:
        for name in ("answer", "peek", "acquire"):
            for number in numbers:
                row = connection.execute(STATEMENTS[name].replace(":n::text", f"'{number}'").encode()).fetchone()
                assert row is not None, f"{name} found nothing for key {number}"
                assert row["outcome"] == expected, f"{name} answered {row['outcome']}, not {expected}"


def _how() -> str:
    return (
        f"{describe()}, random keys: all that are completed, or {IN_FLIGHT:,} of the leased ones, more than are in "
        "flight at once. The look-up is by the same primary key in a plain table of as many rows that holds the same "
        "22 columns of answer; beside it, for scale, one in a table of nothing but key and path."
    )


def _measure_hot_key(url: str, rows: int, run: Run) -> list[Figure]:
    run.say("one hot leased key")
    _check_outcomes(url, (rows,), EXPECTED["leased"])
    asked = {"answer": STATEMENTS["answer"], "acquire": STATEMENTS["acquire"], "upsert": UPSERT}
    statements = [Statement(name=name, sql=sql, first=rows, last=rows) for name, sql in asked.items()]
    rates = per_second(statements, url, run.folder, rounds=run.pick(4, 1), seconds=run.pick(3, 1))
    how = (
        f"{describe()}, all on one leased key: acquire is refused, and so is the upsert (insert ... on conflict do "
        "update ... where expired), which locks the row to find that out."
    )
    return [
        median_figure(
            ratios(rates["acquire"], rates["answer"]),
            what="refused acquire, one hot key",
            unit="ratio",
            how=how,
            at_least=LEAST_HOT,
        ),
        median_figure(
            ratios(rates["upsert"], rates["answer"]), what="refused upsert, one hot key", unit="ratio", how=how
        ),
    ]
