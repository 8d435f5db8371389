"""Write the parts of the documentation that come from the code: `.venv/bin/python docs/generate.py`."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from copperplate import prices
from copperplate.http.app import create_app
from copperplate.settings import Settings

PAGE = Path(__file__).with_name("settings.md")
PROVIDERS = Path(__file__).with_name("providers.md")
OPENAPI = Path(__file__).with_name("openapi.json")
END = "<!-- end -->"


def settings_table() -> str:
    """Every setting, as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for each in fields(Settings):
        default = each.metadata["default"]
        shown = f"`{default}`" if default is not None else each.metadata["unset"] or "none"
        secret = " *Secret.*" if each.metadata["is_secret"] else ""
        rows.append(f"| `{each.metadata['variable']}` | {shown} | {each.metadata['doc']}{secret} |")
    return "\n".join(rows)


def prices_table() -> str:
    """Every price, as a Markdown table."""
    rows = [
        f"Version {prices.VERSION}, read on {prices.AS_OF}; not checked against a bill. Your account's page decides.",
        "",
        "| model | for one | price | read from |",
        "|---|---|---|---|",
    ]
    for each in prices.rows():
        model = f"`{each.model}`" if each.provider != "painter" else "the painter"
        rows.append(f"| {model} | {each.unit} | {prices.dollars(each.micro_usd)} | {each.source} |")
    return "\n".join(rows)


def with_table(page: str, name: str = "settings") -> str:
    """The page with its generated part of this name made anew."""
    begin = f"<!-- generated: {name} -->"
    table = {"settings": settings_table, "prices": prices_table}[name]()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n\n{table}\n\n{END}{after}"


def openapi() -> str:
    """The OpenAPI document."""
    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
    PROVIDERS.write_text(with_table(PROVIDERS.read_text(), "prices"))
    OPENAPI.write_text(openapi())
