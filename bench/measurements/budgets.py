"""What budgets cost an election and its submit: five of them, none, and one row that every submit updates."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.harness.databases import cluster, query
from bench.harness.figures import Figure, Run, median_figure, ratios
from bench.harness.pgbench import Statement, describe, per_second

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = (1, 8, 32)
# Of elections with budgets to those without, where it is promised.
LEAST, LEAST_CLIENTS = 0.5, 8
ADDRESSES = 1_000
PLENTY = 1_000_000_000_000
# So many that two transactions hardly ever draw the same: every one of them leads a picture of its own.
PICTURES = 2_000_000_000

RECIPE = (
    "jsonb_build_object('v', 1, 'kind', 'image', 'prompt', 'picture number ' || :n::bigint, 'width', 1024, "
    "'height', 1024, 'model', 'copperplate/painter-1', 'seed', '', 'settings', '[]'::jsonb)"
)
ELECTION = (
    "select a.fence, a.generation_key, r.key from (select {recipe} as recipe, public.cache_key({recipe}) as key) as r, "
    "lateral public.acquire_generation(r.recipe, r.key, 'jpg' || :n::bigint, gen_random_uuid(), '60 s', '[]', '{{}}', "
    "{spending}) as a\n\\gset\n"
)
SUBMIT = "select (public.begin_submit(:key::text, :fence::bigint, 1, 'p', 3000, {spending})).outcome"
ONE_ROW = "update copperplate.budget_usage set pictures = pictures + 1 where budget = 'one row'"
# A colon before a letter begins a variable of pgbench.
COLON = "\\u003a"
BUDGETS = [
    {"name": "model:p/m"},
    {"name": "provider:p"},
    {"name": "all", "cap_micro_usd": PLENTY, "cap_pictures": PLENTY},
]
SPENDING = (
    "jsonb_build_object('amount_micro_usd', 3000, 'budgets', jsonb_build_array("
    f"jsonb_build_object('name', 'address:' || :n::bigint % {ADDRESSES}, 'share_of', 'anonymous', 'permille', 100, "
    "'is_own', true), jsonb_build_object('name', 'anonymous', 'share_of', 'all', 'permille', 500, 'is_own', true)) "
    f"|| '{json.dumps(BUDGETS).replace(':p', COLON + 'p')}')"
)


def measure(run: Run) -> list[Figure]:
    """Elections and submits a second with five budgets, as a ratio to those without, at 1, 8 and 32 clients."""
    with cluster(run) as started:
        query(
            started.owner_url,
            "insert into copperplate.budget_usage (budget, day, stripe) values ('one row', '-infinity', 0)"
            " returning stripe",
        )
        figures = [figure for clients in CLIENTS for figure in _measure(started.owner_url, clients, run)]
        query(started.owner_url, "delete from copperplate.budget_usage where budget = 'one row' returning stripe")
        audit = query(started.owner_url, "select public.audit_budgets()")[0][0]
    how = "Faults that `audit_budgets()` finds after all of these."
    return [
        *figures,
        Figure(what="counters that differ from bookings", value=len(audit["faults"]), unit="", how=how, exactly=0),
    ]


def _measure(url: str, clients: int, run: Run) -> Iterator[Figure]:
    run.say(f"{clients} clients")
    scripts = {
        "without": ELECTION.format(recipe=RECIPE, spending="null") + SUBMIT.format(spending="null"),
        "budgets": ELECTION.format(recipe=RECIPE, spending=SPENDING) + SUBMIT.format(spending=SPENDING),
        "one row": ELECTION.format(recipe=RECIPE, spending="null")
        + "begin;\n" + SUBMIT.format(spending="null") + ";\n" + ONE_ROW + ";\ncommit",
    }  # fmt: skip
    statements = [Statement(name=name, sql=sql, first=1, last=PICTURES) for name, sql in scripts.items()]
    rates = per_second(statements, url, run.folder, rounds=run.pick(5, 1), seconds=run.pick(4, 2), clients=clients)
    how = (
        f"{describe(clients)}, a durable cluster; each script leads a picture nobody asked for before and begins its "
        f"submit, in two transactions. Budgets: one of {ADDRESSES:,} addresses, strangers, model, provider, all, with "
        "caps that are not reached. One row: no budgets, and the submit's transaction updates one row for all."
    )
    yield median_figure(rates["without"], what=f"elections without budgets, {clients} clients", unit="/s", how=how)
    for name in ("budgets", "one row"):
        yield median_figure(
            ratios(rates[name], rates["without"]),
            what=f"elections with {name if name == 'one row' else 'five budgets'} to those without, {clients} clients",
            unit="ratio",
            how=how,
            at_least=LEAST if (name, clients) == ("budgets", LEAST_CLIENTS) else None,
        )
