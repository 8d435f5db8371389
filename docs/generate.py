"""Write the parts of the documentation that come from the code: `.venv/bin/python docs/generate.py`."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from copperplate.http.app import create_app
from copperplate.settings import Settings

PAGE = Path(__file__).with_name("settings.md")
OPENAPI = Path(__file__).with_name("openapi.json")
BEGIN, END = "<!-- generated: settings -->", "<!-- end -->"


def settings_table() -> str:
    """Every setting, as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for each in fields(Settings):
        default = each.metadata["default"]
        shown = f"`{default}`" if default is not None else "none"
        secret = " *Secret.*" if each.metadata["is_secret"] else ""
        rows.append(f"| `{each.metadata['variable']}` | {shown} | {each.metadata['doc']}{secret} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """The page with its generated part made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


def openapi() -> str:
    """The OpenAPI document."""
    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
    OPENAPI.write_text(openapi())
