"""The command; see the package."""

from __future__ import annotations

import argparse
import json
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.planted_changes.areas import all_changes, draw
from scripts.planted_changes.change import AnchorLost, NamedChange, read_named
from scripts.planted_changes.coverage_map import CoverageMap, measure
from scripts.planted_changes.fitting import Fitting
from scripts.planted_changes.trial import Plant, Result, Trial, scratch_copy

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CACHE = ROOT / ".planted"


def main() -> None:
    """Measure, list or plant."""
    options = _parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if options.map:
        measure(ROOT, CACHE)
        return
    changes = _wanted(options)
    if options.list:
        for each in changes:
            _say(each, "")
        return
    _plant(changes, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.planted_changes", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="what is drawn")
    parser.add_argument("--count", type=int, default=120, help="how many are drawn")
    parser.add_argument("--area", action="append", default=[], help="only areas that begin so; repeatable")
    parser.add_argument("--named", action="store_true", help="the changes of named.toml instead of drawn ones")
    parser.add_argument("--only", action="append", default=[], help="only the change of this id or name; repeatable")
    parser.add_argument("--list", action="store_true", help="say what would be planted, and end")
    parser.add_argument("--map", action="store_true", help="measure which test runs which line, and end")
    parser.add_argument("--wall", type=float, default=240, help="seconds of tests for one change")
    parser.add_argument("--part", default="1/1", help="only that part of them: `2/3` beside two other runs")
    parser.add_argument("--again", action="store_true", help="also what an earlier run has a result of")
    parser.add_argument("--results", type=Path, default=CACHE / "results.jsonl", help="where results are kept")
    return parser


def _wanted(options: argparse.Namespace) -> list[NamedChange]:
    if options.named:
        found = read_named(HERE / "named.toml", ROOT)
    else:
        equivalent = {each.change.id for each in read_named(HERE / "equivalent.toml", ROOT)}
        drawn = draw(
            {
                area: changes
                for area, changes in all_changes(ROOT).items()
                if area.startswith(tuple(options.area) or "")
            },
            seed=options.seed,
            count=options.count,
            is_wanted=lambda change: change.id not in equivalent,
        )
        found = [NamedChange(change=change, name=change.id, why="") for change in drawn]
    found = [each for each in found if not options.only or {each.name, each.change.id} & set(options.only)]
    part, parts = map(int, options.part.split("/"))
    return found[part - 1 :: parts]


def _plant(changes: list[NamedChange], options: argparse.Namespace) -> None:
    known = {} if options.again else _results(options.results)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    fitting = Fitting(ROOT, CoverageMap.read(CACHE / "map.json"))
    with scratch_copy(ROOT) as copy, options.results.open("a") as results:
        plant = Plant(copy, wall_seconds=options.wall)
        for number, each in enumerate(changes, 1):
            if each.change.id not in known:
                trial = _trial(plant, fitting, each)
                known[each.change.id] = trial.result
                kept = {
                    "id": each.change.id,
                    "name": each.name,
                    **asdict(each.change),
                    **asdict(trial),
                    "at": time.time(),
                }
                results.write(json.dumps(kept) + "\n")
                results.flush()
                _say(each, f"[{number}/{len(changes)}] {trial.result} {trial.seconds} s {trial.by or trial.detail} ")
    _summarize(changes, known)


def _trial(plant: Plant, fitting: Fitting, each: NamedChange) -> Trial:
    try:
        batches = [list(each.tests)] if each.tests else fitting.batches(each.change)
        return plant.try_change(each.change, batches)
    except AnchorLost as lost:
        return Trial(result=Result.INVALID, detail=f"anchor lost: {lost}")


def _results(path: Path) -> dict[str, str]:
    """The last result of each change."""
    if not path.is_file():
        return {}
    return {row["id"]: row["result"] for row in map(json.loads, path.read_text().splitlines())}


def _say(each: NamedChange, before: str) -> None:
    change = each.change
    line = change.line_in((ROOT / change.file).read_text())
    name = "" if each.name == change.id else f" {each.name}"
    print(f"{before}{change.id}{name} ({change.area}, {change.rule}) {change.file}:{line}", flush=True)
    print(f"    - {change.before.strip()[:200]}\n    + {change.after.strip()[:200]}", flush=True)


def _summarize(changes: Iterable[NamedChange], known: dict[str, str]) -> None:
    results = [known[each.change.id] for each in changes if each.change.id in known]
    counts = {result: results.count(result) for result in Result}
    valid = counts[Result.NOTICED] + counts[Result.SURVIVED]
    share = f"{counts[Result.NOTICED] / valid:.1%}" if valid else "none"
    print(f"{len(results)} planted: " + ", ".join(f"{number} {result}" for result, number in counts.items()))
    print(f"noticed, of those that are valid: {share}")


if __name__ == "__main__":
    main()
