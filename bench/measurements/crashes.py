"""Leaders that are killed, or stopped beyond their lease, at every named point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bench.harness import trials
from bench.harness.databases import cluster
from bench.harness.figures import Figure

if TYPE_CHECKING:
    from bench.harness.figures import Run

# So many leaders die at the same moment, each with its own picture and followers.
AT_ONCE = 4
HOW = "Real processes, Postgres and a folder; lease 1 s, generation 0.5 s, five waiting callers in another process."


def measure(run: Run) -> list[Figure]:
    """What a leader killed or stopped at each point costs, and how long its followers wait."""
    kills = _all(run, trials.KILLS, "kill", run.pick(20, 4))
    stops = _all(run, trials.STOPS, "stop", run.pick(20, 4))
    with cluster(run) as started:
        chained = trials.chain(trials.Referee(started.url()), run.folder / "chain", leaders=10)
    both = kills + stops
    answered = [body for outcome, _ in both for body in outcome.bodies]
    return [
        Figure(what="trials", value=len(both), unit="", how=HOW),
        Figure(
            what="most submits of one picture",
            value=max(outcome.submits for outcome, _ in both),
            unit="",
            how="Read from the provider's own book.",
            at_most=2,
        ),
        Figure(
            what="trials with other submits than expected",
            value=sum(outcome.submits != expected for outcome, expected in both),
            unit="",
            how="One with jobs, except where the leader died between the provider's answer and noting its id.",
            exactly=0,
        ),
        Figure(
            what="submits of a chain of ten dead leaders",
            value=chained,
            unit="",
            how="The first is killed after the id is noted, the others after acquire.",
            exactly=1,
        ),
        Figure(
            what="longest wait after a death",
            value=max(outcome.seconds for outcome, _ in both),
            unit="s",
            how="From the death, or from the question if that came later, to the answer.",
            at_most=trials.BOUND_SECONDS,
        ),
        Figure(
            what="waiting callers without a picture, or with different ones",
            value=sum("picture" not in body for body in answered)
            + sum(len(outcome.bodies) != 1 or outcome.answers != trials.CALLERS for outcome, _ in both),
            unit="",
            how="Bodies are compared byte by byte within a trial, the stopped leader's own included.",
            exactly=0,
        ),
        Figure(
            what="orphans after one sweep, and entries without object",
            value=sum(outcome.orphans_left + outcome.dangling for outcome, _ in both),
            unit="",
            how="Files in the folder against rows, after one run of the cleanup two hours later.",
            exactly=0,
        ),
    ]


def _all(
    run: Run, expected: dict[str, tuple[int, int]], how: Literal["kill", "stop"], times: int
) -> list[tuple[trials.Outcome, int]]:
    tried: list[tuple[trials.Outcome, int]] = []
    for point, has_jobs, submits in trials.kinds_of(expected):
        run.say(f"{how} at {point} {'with' if has_jobs else 'without'} jobs")
        with cluster(run, is_durable=False) as started:
            for number in range(0, times, AT_ONCE):
                folder = run.folder / f"{how}-{point}-{has_jobs}-{number}"
                outcomes = trials.run(
                    trials.Referee(started.url()),
                    folder,
                    point,
                    has_jobs=[has_jobs],
                    times=min(AT_ONCE, times - number),
                    how=how,
                )
                tried += [(outcome, submits) for outcome in outcomes[has_jobs]]
    return tried
