"""A batch of 200 whose worker is killed five times."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.harness import batch_trials
from bench.harness.databases import cluster
from bench.harness.figures import Figure, median_figure

if TYPE_CHECKING:
    from bench.harness.figures import Run

AT_ONCE = 4
LEASE_SECONDS = 1.0
GENERATION_SECONDS = 0.5
HOW = (
    f"Real processes, Postgres and a folder; lease {LEASE_SECONDS:.0f} s, {GENERATION_SECONDS} s a picture at a "
    f"provider with jobs, COPPERPLATE_WORK_ITEMS={AT_ONCE}."
)
KILLED = "The one process that takes work gets SIGKILL at even distances, while each of its submits is noted."


def measure(run: Run) -> list[Figure]:
    """What a batch costs whose worker is killed again and again, and how long somebody in a hurry waits."""
    members, kills, rounds = run.pick(200, 40), run.pick(5, 2), run.pick(3, 1)
    tried = []
    for number in range(rounds):
        run.say(f"round {number + 1} of {rounds}")
        with cluster(run, is_durable=False) as started:
            tried.append(
                batch_trials.run(
                    started.url(),
                    run.folder / f"batch-{number}",
                    members=members,
                    kills=kills,
                    at_once=AT_ONCE,
                    lease=LEASE_SECONDS,
                    seconds=GENERATION_SECONDS,
                )
            )
    floor = members / AT_ONCE * GENERATION_SECONDS
    return [
        Figure(what="members", value=members, unit="", how=HOW),
        Figure(what="kills of the worker", value=min(each.kills for each in tried), unit="", how=KILLED),
        Figure(
            what="pictures",
            value=min(each.pictures for each in tried),
            unit="",
            how=f"The fewest of {rounds} rounds.",
            exactly=members,
        ),
        Figure(
            what="submits",
            value=max(each.submits for each in tried),
            unit="",
            how="The most of any round, read from the provider's own book.",
            exactly=members,
        ),
        Figure(
            what="most jobs at once at the provider",
            value=max(each.most_at_once for each in tried),
            unit="",
            how="By the times in its book; the one that was asked for in a hurry is apart.",
            at_most=AT_ONCE,
        ),
        Figure(
            what="submits of the member somebody was in a hurry for",
            value=max(each.urgent_submits for each in tried),
            unit="",
            how="The last member, asked for by another process once an eighth of the batch was sent.",
            exactly=1,
        ),
        Figure(
            what="members it overtook",
            value=min(each.passed for each in tried),
            unit="",
            how="Those that were sent after it.",
            at_least=members // 2,
        ),
        median_figure(
            [each.urgent_seconds for each in tried],
            what="wait for that one",
            unit="s",
            how=f"{GENERATION_SECONDS} s of it at the provider.",
            at_most=3 * GENERATION_SECONDS,
        ),
        median_figure(
            [each.seconds for each in tried],
            what="time of the whole batch",
            unit="s",
            how=f"The provider's part is {floor:.0f} s; a kill costs what is left of the lease and a start.",
        ),
        Figure(
            what="time beyond the provider's part, a kill",
            value=statistics.median((each.seconds - floor) / each.kills for each in tried),
            unit="s",
            how="Of the whole batch, start included.",
        ),
    ]
