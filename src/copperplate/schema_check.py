"""What the migrations make, as this program was shipped with it, and how a database differs from that."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Written by `make types` from a database that was just migrated.
FILE: Final = "schema.json"
FOLDER: Final = "supabase/migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedObject:
    """One object as a migration makes it: a digest of how, who may do what with it, and the migration's file."""

    digest: str
    rights: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as the migrations make it, and what to do. Not serious: it may be meant."""

    detail: str
    is_serious: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Everything the migrations make, by name; and their files, by version."""

    migrations: Mapping[str, str]
    objects: Mapping[str, ExpectedObject]

    @classmethod
    def shipped(cls) -> Schema:
        """That of this program."""
        read = json.loads(files("copperplate").joinpath(FILE).read_text(encoding="utf-8"))
        return cls(
            migrations={file.partition("_")[0]: file for file in read["migrations"]},
            objects={
                name: ExpectedObject(digest=digest, rights=rights, file=file)
                for name, (digest, rights, file) in read["objects"].items()
            },
        )

    @property
    def public_names(self) -> list[str]:
        """What the database is to be asked for: names of tables, views and functions in public."""
        names = (re.match(r"(?:table|view|function) public\.(\w+)", name) for name in self.objects)
        return sorted({found[1] for found in names if found})

    def compare(self, found: Mapping[str, Any]) -> list[Difference]:
        """Where a database differs; `found` is what `Statistics.describe_schema` answers."""
        there: Mapping[str, Any] = found["objects"]
        return [
            *self._unrecorded(found["migrations"] or ()),
            *(
                difference
                for name, made in self.objects.items()
                for difference in _compare(name, made, there.get(name))
            ),
            *(difference for name in there if name not in self.objects for difference in self._unknown(name)),
        ]

    def _unrecorded(self, recorded: Any) -> Iterator[Difference]:
        missing = [file for version, file in self.migrations.items() if version not in recorded]
        if missing:
            rows = ", ".join("('{}', '{}')".format(*file.removesuffix(".sql").split("_", 1)) for file in missing)
            yield Difference(
                detail="migrations are not recorded although they ran, so that `copperplate migrate` would fail: add "
                f"to supabase_migrations.schema_migrations (version, name) the rows {rows}"
            )

    def _unknown(self, name: str) -> Iterator[Difference]:
        """What others made is theirs, but for what changes ours."""
        kind, _, rest = name.partition(" ")
        if kind == "policy":
            table, _, policy = rest.partition(" ")
            detail = f"{name} is not ours and may show rows to others: drop policy {policy} on {table}"
            yield Difference(detail=detail, is_serious=False)
        elif kind == "function" and any(own.startswith(name.partition("(")[0] + "(") for own in self.objects):
            yield Difference(detail=f"{name} is another form of ours, and calls cannot choose: drop {name}")


def _compare(name: str, made: ExpectedObject, found: Any) -> Iterator[Difference]:
    source = f"{FOLDER}/{made.file}"
    if found is None:
        yield Difference(detail=f"{name} is gone: run again what {source} says of it")
        return
    digest, rights = found
    if digest != made.digest:
        yield Difference(detail=f"{name} was changed: bring it back to what {source} says of it")
    there, expected = (set(filter(None, listed.split(", "))) for listed in (rights, made.rights))
    on = "{} {}".format(*re.sub(r"^view ", "table ", name).split(" ", 1))
    for right in sorted(there - expected):
        role, verb = right.split(" ")
        yield Difference(detail=f"{role} has {verb} on {name}: revoke {verb} on {on} from public, {role}")
    for right in sorted(expected - there):
        role, verb = right.split(" ")
        yield Difference(detail=f"{role} lacks {verb} on {name}: grant {verb} on {on} to {role}")
