"""`python -m bench [name ...] [--quick] [--list] [--tables] [--check]`: the figures, measured here."""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from bench.harness import tables
from bench.harness.figures import Figure, Run, keep, say, source

# In this order; each module has a `measure(run)` whose docstring says what it finds out.
MEASUREMENTS = (
    "start",
    "writes_per_hit",
    "followers",
    "streams",
    "single_generation",
    "hits",
    "tiers",
    "parts_away",
    "redis_tier",
    "versions",
    "servers",
    "acquire_and_peek",
    "charges",
    "budgets",
    "credit_operations",
    "last_credits",
    "spend",
    "flood",
    "refused_misses",
    "glitches",
    "storage_calls",
    "render_ahead",
    "srcset",
    "first_rendition",
    "rendition_flood",
    "crashes",
    "batches",
    "restarts",
    "purges",
    "work",
    "slow_machine",
    "half_sent",
    "long_snapshot",
    "postgrest_calls",
    "cold_start",
    "vercel_hits",
    "poolers",
    "cleanup",
    "refusing_stores",
    "warming",
    "signatures",
    "verification",
    "encoders",
    "uploads",
    "admission",
)


def main() -> int:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="what to measure (default: everything)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; nothing is written")
    parser.add_argument("--list", action="store_true", help="say what can be measured")
    parser.add_argument("--tables", action="store_true", help="only rewrite the tables of docs/benchmarks.md")
    parser.add_argument("--check", action="store_true", help="only say whether those tables are current")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}; --list names them all")
    if arguments.list:
        _list()
    elif arguments.check:
        if not tables.is_current():
            print("docs/benchmarks.md is not what bench/results.json gives: python -m bench --tables")
            return 1
    elif arguments.tables:
        tables.write()
    else:
        _measure(arguments.names or MEASUREMENTS, is_quick=arguments.quick)
    return 0


def _list() -> None:
    for name in MEASUREMENTS:
        print(f"{name:18} {importlib.import_module(f'bench.measurements.{name}').measure.__doc__}")


def _measure(names: tuple[str, ...], *, is_quick: bool) -> None:
    # Two thousand callers at once are two thousand descriptors, here and in the servers we start.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.monotonic()
    for name in names:
        say(began, f"--- {name}")
        started, began_as = time.monotonic(), source()
        with tempfile.TemporaryDirectory(prefix="copperplate-bench-") as folder:
            # Postgres runs as another user where we are root.
            Path(folder).chmod(0o755)
            run = Run(folder=Path(folder), is_quick=is_quick, began=began)
            figures: list[Figure] = importlib.import_module(f"bench.measurements.{name}").measure(run)
        for figure in figures:
            say(began, f"{figure.what}: {figure.value:.4g} {figure.unit}")
        if not is_quick:
            keep(name, figures, time.monotonic() - started, began_as)
            tables.write()
    say(began, "done")


if __name__ == "__main__":
    sys.exit(main())
