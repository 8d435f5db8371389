"""The tables in docs/benchmarks.md are what bench/results.json gives."""

from __future__ import annotations

import importlib
import re

import pytest

from bench.__main__ import MEASUREMENTS
from bench.harness import tables
from bench.harness.figures import RESULTS

RESULT = {
    "machine": {"cores": 2},
    "measurements": {
        "start": {
            "commit": "0123456789abcdef",
            "is_modified": False,
            "date": "2026-11-20T12:00:00+00:00",
            "seconds": 12.3,
            "figures": [
                {"what": "first start", "value": 3.5, "unit": "s", "how": "Timed.", "rounds": [3, 4], "at_most": 3},
                {"what": "peek", "value": 0.85, "unit": "ratio", "how": "Timed.", "at_least": 0.8},
                {"what": "leads", "value": 1.0, "unit": "", "how": "Counted.", "exactly": 1},
            ],
        }
    },
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_is_a_module_that_says_what_it_measures(name: str) -> None:
    assert importlib.import_module(f"bench.measurements.{name}").measure.__doc__


def test_tables_show_the_results() -> None:
    if not (RESULTS.exists() and tables.DOCUMENT.exists()):
        pytest.skip("nothing was measured yet: make bench")
    assert tables.is_current(), "run python -m bench --tables"


def test_every_measurement_has_its_table() -> None:
    shown = re.findall(r"<!-- table: (\w+) -->", tables.DOCUMENT.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(("machine", *MEASUREMENTS))


def test_a_table_gives_value_spread_and_whether_the_aim_is_met() -> None:
    text = "before\n<!-- table: start -->\nold\n<!-- end -->\nafter\n"

    lines = tables.rewrite(text, RESULT).splitlines()

    assert "| first start | 3.5 s | 3 to 4, 2 rounds | ≤ 3 | **missed** |" in lines
    assert "| peek | 0.85 |  | ≥ 0.8 | met |" in lines
    assert "| leads | 1 |  | = 1 | met |" in lines
    assert lines.count("- Timed.") == 1
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines


def test_rewriting_twice_changes_nothing() -> None:
    once = tables.rewrite("<!-- table: start -->\n<!-- end -->\n<!-- table: machine -->\n<!-- end -->\n", RESULT)

    assert tables.rewrite(once, RESULT) == once


def test_what_was_not_measured_says_so() -> None:
    assert "Not measured yet." in tables.rewrite("<!-- table: hits -->\n<!-- end -->\n", RESULT)
