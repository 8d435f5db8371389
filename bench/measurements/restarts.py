"""A database that is restarted, killed and held down under load for a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.harness import outages
from bench.harness.figures import Figure

if TYPE_CHECKING:
    from bench.harness.figures import Run

PROMISED_SECONDS = 3.0
STUCK_SECONDS = 60.0
UP_SECONDS = 2.0
LEASE_SECONDS = 20.0
ROUND: tuple[outages.Blow, ...] = ("restart", "kill", "hold down")
HOW = (
    f"{outages.PROCESSES} processes ask for new and kept pictures; Postgres is restarted, killed, and held down for "
    f"{outages.DOWN_SECONDS:.0f} s in turn, {UP_SECONDS:.0f} s apart; lease {LEASE_SECONDS:.0f} s, generation 0.5 s."
)


def measure(run: Run) -> list[Figure]:
    """What a minute of restarts costs: calls, refusals, and how long anything is held up afterwards."""
    blows = ROUND * run.pick(6, 1)
    after = outages.run(run.folder, blows, up_seconds=UP_SECONDS, lease_seconds=LEASE_SECONDS)
    return [
        Figure(what="questions", value=len(after.asks), unit="", how=HOW),
        Figure(what="pictures asked for", value=len(after.submits), unit="", how=HOW),
        Figure(
            what="most submits of one picture",
            value=max(after.submits.values()),
            unit="",
            how="Read from the provider's own book.",
            at_most=1,
        ),
        Figure(
            what="submits while the database was down",
            value=sum(outage.submits for outage in after.outages),
            unit="",
            how=f"Counted from {outages.IN_FLIGHT_SECONDS} s after its end, for those that had been announced.",
            exactly=0,
        ),
        Figure(
            what="longest refusal of a question asked while it was down",
            value=max(each.seconds for each in after.refused_while_down),
            unit="s",
            how=f"{len(after.refused_while_down)} of them, for pictures and kept ones alike: each needs the ledger.",
            at_most=PROMISED_SECONDS,
        ),
        Figure(
            what="other failures",
            value=after.unexpected.total(),
            unit="",
            how="Answers that are neither a picture nor `ledger_unavailable`.",
            exactly=0,
        ),
        Figure(
            what="last lease of nobody over after",
            value=after.stuck_seconds,
            unit="s",
            how="From the last question to the moment when no generation was held up.",
            at_most=STUCK_SECONDS,
        ),
        Figure(
            what="pictures that could not be had afterwards",
            value=sum(each.answer != "picture" for each in after.asks_again),
            unit="",
            how="Each was asked for once more then.",
            exactly=0,
        ),
    ]
