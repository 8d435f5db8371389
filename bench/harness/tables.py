"""The tables of docs/benchmarks.md, made from the results."""

from __future__ import annotations

import re
from typing import Any

from bench.harness.figures import ROOT, load

DOCUMENT = ROOT / "docs" / "benchmarks.md"
AIMS = {"at_least": "≥", "at_most": "≤", "exactly": "="}
BLOCK = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewrite(text: str, results: dict[str, Any]) -> str:
    """The document with every table as the results give it."""
    return BLOCK.sub(lambda block: block[1] + _table(block["name"], results) + block[3], text)


def write() -> None:
    """Bring the document up to date."""
    DOCUMENT.write_text(rewrite(DOCUMENT.read_text(encoding="utf-8"), load()), encoding="utf-8")


def is_current() -> bool:
    """Whether the document shows the results."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return rewrite(text, load()) == text


def _table(name: str, results: dict[str, Any]) -> str:
    if name == "machine":
        return _machine(results)
    measured = results.get("measurements", {}).get(name)
    if measured is None:
        return "Not measured yet.\n"
    lines = ["| figure | value | spread | aim | |", "|---|---:|---|---|---|"]
    lines += [_row(figure) for figure in measured["figures"]]
    hows = dict.fromkeys(figure["how"] for figure in measured["figures"])
    changed = " with changes" if measured["is_modified"] else ""
    source = f"Commit {measured['commit'][:10]}{changed}, {measured['date'][:10]}, {measured['seconds']:.0f} s."
    return "\n".join([*lines, "", *(f"- {how}" for how in hows), "", source]) + "\n"


def _row(figure: dict[str, Any]) -> str:
    value = figure["value"]
    rounds = figure.get("rounds", [])
    spread = f"{_number(min(rounds))} to {_number(max(rounds))}, {len(rounds)} rounds" if rounds else ""
    sign, name = next(((sign, name) for name, sign in AIMS.items() if name in figure), ("", ""))
    aim = f"{sign} {_number(figure[name])}" if name else ""
    verdict = ("met" if _is_met(name, value, figure[name]) else "**missed**") if name else ""
    unit = "" if figure["unit"] in ("", "ratio") else f" {figure['unit']}"
    return f"| {figure['what']} | {_number(value)}{unit} | {spread} | {aim} | {verdict} |"


def _is_met(name: str, value: float, aim: float) -> bool:
    return {"at_least": value >= aim, "at_most": value <= aim, "exactly": value == aim}[name]


def _machine(results: dict[str, Any]) -> str:
    facts = results.get("machine", {})
    return "".join(f"- {name}: {value}\n" for name, value in facts.items()) or "Not measured yet.\n"


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
