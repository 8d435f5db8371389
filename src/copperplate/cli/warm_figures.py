"""What `copperplate warm` prints: faults, a plan, progress, and what a run came to."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli.database import show
from copperplate.cli.shared import say
from copperplate.prices import AS_OF, MICRO, dollars

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.cli.progress_bar import ProgressBar
    from copperplate.operations.warming import Warmed
    from copperplate.operations.warming_plan import WarmingPlan, WishList

# Between two lines where no bar is drawn.
SAY_SECONDS: Final = 5.0
_SHOWN_LINES: Final = 20


class RunProgress:
    """Tells how far a run has come: a bar moves, and where stderr is no terminal a line says it now and then."""

    def __init__(self, bar: ProgressBar, *, total: int, what: str = "warming") -> None:
        self._bar = bar
        self._what = what
        self._total = total
        self._ended = 0
        self._is_quiet = not sys.stderr.isatty()
        self._said_at = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line to stderr, above the bar where one is drawn."""
        self._bar.say(line)

    def see(self, ended: int) -> None:
        """So many have ended by now."""
        self._bar.advance(ended - self._ended)
        self._ended = ended
        if self._is_quiet and time.monotonic() - self._said_at >= SAY_SECONDS:
            self._said_at = time.monotonic()
            self._bar.say(f"{self._what}: {ended:,} of {self._total:,}")


def say_faults(wish_list: WishList) -> None:
    """Name what is wrong, by line."""
    for fault in wish_list.faults:
        say(f"line {fault.line}: {fault.message} [{fault.code}]")
    more = f"; the first {len(wish_list.faults)} are named" if wish_list.faulty > len(wish_list.faults) else ""
    items = "1 faulty item" if wish_list.faulty == 1 else f"{wish_list.faulty:,} faulty items"
    say(f"copperplate: {items}{more}. Mend the list: nothing was spent [usage]")


def show_plan(wish_list: WishList, plan: WarmingPlan, *, in_flight: int, as_json: bool) -> None:
    """What a run would come to."""
    chosen = len(plan.chosen)
    seconds = plan.seconds(in_flight)
    left_out = _lines(wish_list, (wish.generation_key for wish in plan.left_out))
    figures: dict[str, Any] = {
        **_counted(wish_list, plan),
        "cost_usd": plan.cost_micro_usd / MICRO,
        "unknown_prices": plan.unpriced,
        "booked_usd": plan.booked_micro_usd / MICRO,
        "in_flight": in_flight,
        "seconds": seconds,
        "requests_to_break_even": chosen,
    }
    if as_json:
        print(json.dumps({**figures, "left_out_lines": left_out}, indent=2))
        return
    show(figures, as_json=False)
    print(f"cost: {dollars(plan.cost_micro_usd)} by the price table of {AS_OF}{_unpriced(plan)}")
    if chosen:
        print(
            "break even: a warmed picture costs what its first request would have cost, so once each of the "
            f"{chosen:,} was asked for. What nobody asks for is lost; what is gained is the first caller's wait."
        )
    if seconds is None:
        print("time: not known, since this list has no stored picture of each model")
    _say_left_out(left_out)


def show_warmed(wish_list: WishList, plan: WarmingPlan, warmed: Warmed, *, as_json: bool) -> None:
    """What a run came to."""
    failures = sorted((wish_list.lines[key], code) for key, code in warmed.failures)
    left_out = _lines(wish_list, (wish.generation_key for wish in plan.left_out))
    figures: dict[str, Any] = {
        **_counted(wish_list, plan),
        "existing": plan.existing + warmed.existed,
        "made": warmed.made,
        "failed": len(failures),
        "left": warmed.left,
        "booked_usd": warmed.booked_micro_usd / MICRO,
    }
    if as_json:
        told = {
            "failed_by_code": dict(warmed.failed_by_code),
            "failures": [{"line": line, "code": code} for line, code in failures],
            "left_out_lines": left_out,
            "batches": [str(batch) for batch in warmed.batches],
        }
        print(json.dumps({**figures, **told}, indent=2))
        return
    show({**figures, **{f"failed_{code}": number for code, number in warmed.failed_by_code.items()}}, as_json=False)
    for line, code in failures[:_SHOWN_LINES]:
        say(f"line {line}: {code}")
    if len(failures) > _SHOWN_LINES:
        say(f"and {len(failures) - _SHOWN_LINES:,} more: --json names all")
    _say_left_out(left_out)


def _counted(wish_list: WishList, plan: WarmingPlan) -> dict[str, int]:
    return {
        "pictures": len(wish_list.wishes),
        "duplicates": wish_list.duplicates,
        "existing": plan.existing,
        "missing": plan.missing,
        "left_out": len(plan.left_out),
    }


def _unpriced(plan: WarmingPlan) -> str:
    if not plan.unpriced:
        return ""
    return (
        f", without {plan.unpriced:,} of unknown price: budgets are asked for {dollars(plan.booked_micro_usd)}, "
        "as if those were of the dearest model"
    )


def _lines(wish_list: WishList, keys: Iterable[str]) -> list[int]:
    return sorted(wish_list.lines[key] for key in keys)


def _say_left_out(lines: list[int]) -> None:
    if lines:
        named = ", ".join(map(str, lines[:_SHOWN_LINES]))
        more = f" and {len(lines) - _SHOWN_LINES:,} more" if len(lines) > _SHOWN_LINES else ""
        say(f"left out, as --max-usd does not pay them: lines {named}{more}")
