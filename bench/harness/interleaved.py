"""Servers measured in interleaved rounds: what each keeps up, and what each answer costs it."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.harness.callers import sustain
from bench.harness.figures import Figure, Run, median_figure, ratios

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.harness.callers import Rate
    from bench.harness.processes import Server

CONNECTIONS = 32
NOT_MODIFIED = 304


@dataclass(slots=True)
class Seen:
    """The rounds of one server."""

    rates: list[Rate] = field(default_factory=list)
    # Processor time per answer: unlike a rate it hardly changes when something else runs on the machine.
    microseconds: list[float] = field(default_factory=list)


def interleave(
    run: Run,
    label: str,
    servers: Mapping[str, Server],
    target: str,
    body: bytes,
    *,
    rounds: int,
    seconds: int,
    connections: int = CONNECTIONS,
    held: Mapping[str, str] | None = None,
) -> dict[str, Seen]:
    """Ask every server for `target` in each of some rounds; all must answer `body`, before and after.

    With the validators that are `held`, by server, all must answer 304.
    """
    held = held or {}
    seen = {name: Seen() for name in servers}
    for number in range(rounds):
        for name, server in servers.items():
            headers = {"If-None-Match": held[name]} if name in held else {}
            _check(name, server, target, body, headers)
            before = server.processor_seconds()
            rate = sustain(
                server.address + target,
                connections=connections,
                seconds=seconds,
                headers=[f"{header}: {value}" for header, value in headers.items()],
                status="304" if headers else "200",
            )
            used = server.processor_seconds() - before
            _check(name, server, target, body, headers)
            seen[name].rates.append(rate)
            seen[name].microseconds.append(used / rate.requests * 1e6)
        said = ", ".join(f"{name} {each.rates[-1].per_second:,.0f}/s" for name, each in seen.items())
        run.say(f"{label}, round {number + 1}: {said}")
    return seen


def _check(name: str, server: Server, target: str, body: bytes, headers: Mapping[str, str]) -> None:
    """A server that answers something else is quick for the wrong reason."""
    try:
        with urllib.request.urlopen(urllib.request.Request(server.address + target, headers=dict(headers))) as answer:
            got = answer.read()
    except urllib.error.HTTPError as error:
        if headers and error.code == NOT_MODIFIED:
            return
        raise
    if headers:
        raise RuntimeError(f"{name} answered {len(got):,} bytes to a caller who holds them")
    if got != body:
        raise RuntimeError(f"{name} answered {len(got):,} bytes that are not the {len(body):,} it was given")


def compare(what: str, subject: Seen, baseline: Seen, how: str, *, at_least: float | None = None) -> list[Figure]:
    """Requests per second, and processor time, as ratios to a baseline (above 1 is better), and p99 (below 1 is).

    `at_least` is the aim of the first.
    """
    rates, costs, waits = (
        ratios(_per_second(subject), _per_second(baseline)),
        ratios(baseline.microseconds, subject.microseconds),
        ratios(_p99s(subject), _p99s(baseline)),
    )
    return [
        median_figure(rates, what=f"{what}, requests per second", unit="ratio", how=how, at_least=at_least),
        median_figure(costs, what=f"{what}, answers per processor second", unit="ratio", how=how),
        median_figure(waits, what=f"{what}, p99", unit="ratio", how=how),
    ]


def latency(what: str, subject: Seen, baseline: Seen, how: str, *, at_most: float | None = None) -> Figure:
    """How long an answer takes, as a ratio to a baseline: the medians of each round."""
    waits = ratios([rate.p50_ms for rate in subject.rates], [rate.p50_ms for rate in baseline.rates])
    return median_figure(waits, what=what, unit="ratio", how=how, at_most=at_most)


def describe(what: str, seen: Seen, how: str) -> list[Figure]:
    """The absolute values of one server."""
    return [
        median_figure(_per_second(seen), what=f"{what}", unit="/s", how=how),
        median_figure(seen.microseconds, what=f"{what}, processor time per answer", unit="µs", how=how),
        median_figure([rate.p50_ms for rate in seen.rates], what=f"{what}, p50", unit="ms", how=how),
        median_figure(_p99s(seen), what=f"{what}, p99", unit="ms", how=how),
    ]


def _per_second(seen: Seen) -> list[float]:
    return [rate.per_second for rate in seen.rates]


def _p99s(seen: Seen) -> list[float]:
    return [rate.p99_ms for rate in seen.rates]
