"""`/metrics` in Prometheus' text format, from the ledger's own sums.

A scrape reaches any one of many processes, and a function none of them twice: counters kept in a process would run
backwards. The ledger's are those of all processes, at most a few seconds old (ADR 0020).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from copperplate.model import LATENCY_BOUNDS_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    ("copperplate_generations_in_flight", "Generations that are led now.", "in_flight"),
    ("copperplate_discarded_objects", "Objects that wait to be removed from the store.", "discarded"),
    ("copperplate_pictures", "Pictures kept.", "total_cached_images"),
    ("copperplate_stored_bytes", "Bytes kept, originals included.", "total_stored_bytes"),
)


def render(totals: Mapping[str, Any], cache: Mapping[str, Any]) -> str:
    """The whole answer, from `LedgerCare.usage_totals` and `cache_stats`."""
    lines: list[str] = []
    for name, what, column in COUNTERS:
        lines += _head(name, what, "counter")
        lines += [f"{name}{_labels(row, LABELS)} {_number(float(row[column]))}" for row in totals["usage"]]
    for name, what, column, worth in MONEY:
        lines += _head(name, what, "gauge")
        lines += [f"{name}{_labels(row, MONEY_LABELS)} {_number(int(row[column]) * worth)}" for row in totals["money"]]
    lines += _head("copperplate_answer_seconds", "Time from a request to its answer.", "histogram")
    for row in totals["latency"]:
        lines += _histogram("copperplate_answer_seconds", row)
    known = {**totals, **cache}
    for name, what, column in GAUGES:
        lines += [*_head(name, what, "gauge"), f"{name} {_number(float(known[column]))}"]
    return "\n".join(lines) + "\n"


def _head(name: str, what: str, kind: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _histogram(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Cumulative buckets, as Prometheus wants them. The sum is not kept."""
    bounds = [*(_number(bound / 1000) for bound in LATENCY_BOUNDS_MS), "+Inf"]
    counts = list(accumulate(int(count) for count in row["buckets"]))
    for bound, count in zip(bounds, counts, strict=True):
        yield f"{name}_bucket{_labels({**row, 'le': bound}, ('kind', 'outcome', 'le'))} {count}"
    yield f"{name}_count{_labels(row, ('kind', 'outcome'))} {counts[-1]}"


def _labels(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(row[name]))}"' for name in names) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return f"{value:.12g}"
