"""What it costs to reserve credits with a lead: `acquire` with a charge beside `acquire` without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.harness.databases import cluster, query
from bench.harness.figures import Figure, Run, median_figure, ratios
from bench.harness.pgbench import Statement, describe, per_second

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST = 0.5
CLIENTS = (8, 16)
ACCOUNTS = (1_000, 1)
PLENTY = 1_000_000_000
# So many that two transactions hardly ever draw the same: every one of them leads a picture of its own.
PICTURES = 2_000_000_000

RECIPE = (
    "jsonb_build_object('v', 1, 'kind', 'image', 'prompt', 'picture number ' || :n::bigint, 'width', 1024, "
    "'height', 1024, 'model', 'copperplate/painter-1', 'seed', '', 'settings', '[]'::jsonb)"
)
USER = "('00000000-0000-4000-8000-' || lpad({number}::text, 12, '0'))::uuid"
ACQUIRE = (
    "select a.outcome from (select {recipe} as recipe) as r, lateral public.acquire_generation(r.recipe, "
    "public.cache_key(r.recipe), 'jpg' || :n::bigint, gen_random_uuid(), '60 s', {charges}) as a"
)


def measure(run: Run) -> list[Figure]:
    """`acquire` that leads and reserves a credit, as a ratio to one that leads and reserves nothing."""
    with cluster(run) as started:
        query(
            started.owner_url,
            f"select count(public.grant_credits({USER.format(number='n')}, {PLENTY}, 'grant ' || n))"
            f" from generate_series(0, {max(ACCOUNTS) - 1}) as n",
        )
        _check_outcomes(started.owner_url)
        figures = [figure for clients in CLIENTS for figure in _measure(started.owner_url, clients, run)]
        faults = query(started.owner_url, "select count(*) from copperplate.credit_faults")[0][0]
    how = "Rows of `copperplate.credit_faults` after all of these."
    return [*figures, Figure(what="accounts whose sums do not agree", value=faults, unit="", how=how, exactly=0)]


def _measure(url: str, clients: int, run: Run) -> Iterator[Figure]:
    run.say(f"{clients} clients")
    asked = {"without": "'[]'::jsonb", **{f"{accounts}": _charge(accounts) for accounts in ACCOUNTS}}
    statements = [
        Statement(name=name, sql=ACQUIRE.format(recipe=RECIPE, charges=charges), first=1, last=PICTURES)
        for name, charges in asked.items()
    ]
    rates = per_second(statements, url, run.folder, rounds=run.pick(6, 1), seconds=run.pick(5, 1), clients=clients)
    how = (
        f"{describe(clients)}, a durable cluster; each transaction leads a picture nobody asked for before, so each is "
        "an insert and a commit. The charge is one credit of one account drawn from so many."
    )
    for accounts in ACCOUNTS:
        yield median_figure(
            ratios(rates[f"{accounts}"], rates["without"]),
            what=f"acquire with a charge to acquire without, {accounts:,} account{'s' * (accounts > 1)}, "
            f"{clients} clients",
            unit="ratio",
            how=how,
            # All of one account wait for each other's commit, whatever the call costs: that is shown, not aimed at.
            at_least=LEAST if accounts > 1 else None,
        )
    yield median_figure(rates["without"], what=f"acquire without a charge, {clients} clients", unit="/s", how=how)


def _charge(accounts: int) -> str:
    user = USER.format(number=f"mod(:n::bigint, {accounts})")
    return f"jsonb_build_array(jsonb_build_object('kind', 'credit', 'user_id', {user}, 'amount', 1))"


def _check_outcomes(url: str) -> None:
    """Each of them must lead: another answer would be timed just as well."""
    for number, charges in enumerate(("'[]'::jsonb", *map(_charge, ACCOUNTS))):
        sql = ACQUIRE.format(recipe=RECIPE, charges=charges).replace(":n", str(PICTURES + 1 + number))
        outcome = query(url, sql)[0][0]
        assert outcome == "lead", f"{charges} answered {outcome}"
