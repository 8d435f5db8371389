"""`python -m simulation --seeds N --first S`: play more histories than `make test` does, from the folder `tests`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.bugs import BUGS
from tests.simulation.play import play


def main() -> int:
    """Play the seeds asked for; print every failing one with its trace."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--trace", action="store_true", help="print what happened, failing or not")
    parser.add_argument("--bugs", action="store_true", help="plant each bug instead, and say which seed finds it")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    if asked.bugs:
        return _find_bugs(seeds)
    began, failed, submits, second, faults = time.perf_counter(), 0, 0, 0, 0
    for seed in seeds:
        report = play(seed)
        submits, second, faults = submits + report.submits, second + report.second_submits, faults + report.faults
        failed += bool(report.violations)
        if report.violations or asked.trace:
            print(*report.trace, f"seed {seed}:", *report.violations, sep="\n")
    rate = asked.seeds / (time.perf_counter() - began)
    print(
        f"{asked.seeds} seeds, {rate:.0f}/s: {failed} failed; {faults} faults, {submits} submits, {second} second ones"
    )
    return int(bool(failed))


def _find_bugs(seeds: range) -> int:
    missed = 0
    for name, planted in BUGS.items():
        with planted():
            found = next(((seed, report) for seed in seeds if (report := play(seed)).violations), None)
        missed += found is None
        print(f"| {name} | {'never' if found is None else found[0]} | {found[1].violations[0] if found else ''} |")
    return int(bool(missed))


sys.exit(main())
