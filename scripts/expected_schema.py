"""What `copperplate doctor` compares a database with: `make types` writes it from the migrations."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import psycopg

from copperplate import schema_check as schema
from copperplate.local.bootstrap import bootstrap
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.migrations import find_migrations_folder, migrate, read_migrations
from tests.support.clusters import open_folder
from tests.support.supabase_cli import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILE = ROOT / "src" / "copperplate" / schema.FILE


def generate(url: str) -> str:
    """A line for each object of a migrated database."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select public.describe_schema()").fetchone()
    assert row is not None
    files = [migration.file_name for migration in read_migrations(find_migrations_folder())]
    objects = {name: [*made, _find_file(name)] for name, made in sorted(row[0]["objects"].items())}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(made)}" for name, made in objects.items())
    return f'{{"migrations": {json.dumps(files, indent=1)},\n "objects": {{\n{lines}\n}}}}\n'


def _find_file(name: str) -> str:
    """The last migration that makes the object."""
    kind, _, rest = name.partition(" ")
    last = rest.partition("(")[0].split(" ")[-1]
    if kind == "sequence" and last.endswith("_id_seq"):  # of an identity column
        last = last.removesuffix("_id_seq")
    made = rf"^\s*(?:create [\w ]*|constraint ){re.escape(last)}\b"
    found = [file.name for file in _files() if re.search(made, file.read_text(), re.MULTILINE)]
    assert found, f"no migration makes {name}"
    return found[-1]


def _files() -> list[Path]:
    return sorted(find_migrations_folder().glob("*.sql"))


def main() -> None:
    """Write it."""
    with open_folder() as folder, Cluster.start(folder, is_durable=False) as running:
        bootstrap(running.superuser_url, passwords=running.passwords)
        migrate(running.owner_url, announce=ignore)
        FILE.write_text(generate(running.owner_url), encoding="utf-8")


if __name__ == "__main__":
    main()
