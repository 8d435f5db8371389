"""`/metrics` in Prometheus' text format, from the ledger's own sums.

A scrape reaches any one of many processes, and a function none of them twice: counters kept in a process would run
backwards. The ledger's are those of all processes, at most a few seconds old (ADR 0020).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from copperplate.budgets import PREPAID
from copperplate.feed import Tier
from copperplate.model import LATENCY_BOUNDS_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from copperplate.ports.budgets import BudgetState
    from copperplate.ports.statistics import KindStats, LatencySum, MoneySum, UsageSum, UsageTotals
    from copperplate.ports.tiers import TierSums

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LABELS: Final = ("kind", "provider", "model", "outcome", "tier")
MONEY_LABELS: Final = ("kind", "provider", "model")
# Name, what it counts, the column.
COUNTERS: Final = (
    ("copperplate_requests_total", "Requests for pictures.", "requests"),
    ("copperplate_served_bytes_total", "Bytes of the pictures served.", "bytes"),
)
# The same, and what one of the column is worth. Gauges: an estimate counts until the bill, which may be lower.
MONEY: Final = (
    ("copperplate_cost_usd_total", "What providers were paid, where prices are known.", "spent_micro_usd", 1e-6),
    (
        "copperplate_saved_usd_total",
        "What pictures that were served without a call would have cost.",
        "saved_micro_usd",
        1e-6,
    ),
    ("copperplate_unpriced_generations_total", "Calls at a price that is not known: not in the cost.", "unpriced", 1),
    (
        "copperplate_unpriced_savings_total",
        "Pictures served without a call at a price that is not known: not in what was saved.",
        "unpriced_saved",
        1,
    ),
)
GAUGES: Final = (
    ("copperplate_generations_in_flight", "Generations that are led now."),
    ("copperplate_discarded_objects", "Objects that wait to be removed from the store."),
)
# Of each kind: the column of its statistics.
KIND_GAUGES: Final = (
    ("copperplate_pictures", "Pictures kept.", "pictures"),
    ("copperplate_stored_bytes", "Bytes kept, originals included.", "stored_bytes"),
)
# Of each budget: the column of its state, and what one of it is worth. Gauges: each day begins at none.
BUDGET_GAUGES: Final = (
    ("copperplate_budget_spent_usd", "Spent today (UTC), reservations included.", "used_micro_usd", 1e-6),
    ("copperplate_budget_cap_usd", "What may be spent a day, where there is a cap.", "cap_micro_usd", 1e-6),
    ("copperplate_budget_pictures", "Pictures made today (UTC), those under way included.", "used_pictures", 1),
    ("copperplate_budget_cap_pictures", "How many may be made a day, where there is a cap.", "cap_pictures", 1),
)
# Of each tier: the column of its sums.
TIER_GAUGES: Final = (
    ("copperplate_tier_entries", "Copies in a tier, of the processes that reported in the last 5 min.", "entries"),
    ("copperplate_tier_bytes", "Bytes of the copies in a tier.", "bytes"),
    ("copperplate_tier_oldest_seconds", "Age of the oldest copy in a tier.", "oldest_seconds"),
)
# Users and addresses are many, and who they are is nobody's business here.
_UNSHOWN: Final = ("user:", "address")


def render(
    totals: UsageTotals,
    kept: Mapping[str, KindStats],
    budgets: Iterable[BudgetState],
    key_prefixes: Mapping[str, str],
    tiers: Iterable[TierSums],
) -> str:
    """The whole answer; `kept` is by kind, and says what storage has.

    Of `budgets` those of users and addresses are left out. A key's is named by its prefix, of `key_prefixes` by id, as
    people know it.
    """
    lines: list[str] = []
    for name, what, column in COUNTERS:
        lines += _head(name, what, "counter")
        lines += [f"{name}{_labels(row, LABELS)} {_number(float(getattr(row, column)))}" for row in totals.usage]
    for name, what, column, worth in MONEY:
        lines += _head(name, what, "gauge")
        lines += [f"{name}{_labels(row, MONEY_LABELS)} {_number(getattr(row, column) * worth)}" for row in totals.money]
    lines += _head("copperplate_answer_seconds", "Time from a request to its answer.", "histogram")
    for row in totals.latency:
        lines += _histogram("copperplate_answer_seconds", row)
    for (name, what), value in zip(GAUGES, (totals.in_flight, totals.discarded), strict=True):
        lines += [*_head(name, what, "gauge"), f"{name} {_number(value)}"]
    lines += _head("copperplate_cdn_purges", "CDN purges that wait in the outbox.", "gauge")
    lines += [f'copperplate_cdn_purges{{scope="{each.scope}"}} {_number(each.purges)}' for each in totals.cdn_purges]
    for name, what, column in KIND_GAUGES:
        lines += _head(name, what, "gauge")
        lines += [f'{name}{{kind="{kind}"}} {_number(getattr(stats, column))}' for kind, stats in kept.items()]
    lines += _tier_lines([each for each in tiers if each.tier is not Tier.STORAGE])
    lines += _budget_lines(budgets, key_prefixes)
    return "\n".join(lines) + "\n"


def _tier_lines(tiers: Sequence[TierSums]) -> Iterator[str]:
    for name, what, column in TIER_GAUGES:
        yield from _head(name, what, "gauge")
        for each in tiers:
            if (value := getattr(each, column)) is not None:
                yield f'{name}{{tier="{each.tier}"}} {_number(value)}'


def _budget_lines(budgets: Iterable[BudgetState], key_prefixes: Mapping[str, str]) -> Iterator[str]:
    shown = [state for state in budgets if not state.budget.removeprefix(PREPAID).startswith(_UNSHOWN)]
    for name, what, column, worth in BUDGET_GAUGES:
        yield from _head(name, what, "gauge")
        for state in shown:
            if (value := getattr(state, column)) is not None:
                kind, colon, which = state.budget.partition(":")
                which = key_prefixes.get(which, which) if kind.endswith("key") else which
                yield f'{name}{{budget="{_escaped(f"{kind}{colon}{which}")}"}} {_number(value * worth)}'


def _head(name: str, what: str, kind: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _histogram(name: str, row: LatencySum) -> Iterator[str]:
    """Cumulative buckets, as Prometheus wants them. The sum is not kept."""
    bounds = [*(_number(bound / 1000) for bound in LATENCY_BOUNDS_MS), "+Inf"]
    counts = list(accumulate(row.buckets))
    for bound, count in zip(bounds, counts, strict=True):
        yield f"{name}_bucket{_labels(row, ('kind', 'outcome'), le=bound)} {count}"
    yield f"{name}_count{_labels(row, ('kind', 'outcome'))} {counts[-1]}"


def _labels(row: UsageSum | MoneySum | LatencySum, names: Sequence[str], **more: str) -> str:
    values = {**{name: str(getattr(row, name)) for name in names}, **more}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return f"{value:.12g}"
