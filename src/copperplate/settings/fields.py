"""A setting as a field of a dataclass: its variable, format, default and example, and how all are read."""

from __future__ import annotations

from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from dataclasses import Field


def setting(  # noqa: PLR0913 - what a setting is, each by its name
    variable: str,
    parse: Callable[[str], Any],
    default: str | None,
    doc: str,
    *,
    is_secret: bool = False,
    example: str | None = None,
    unset: str | None = None,
) -> Any:
    """A field; `example` is shown where a value is refused: one that fits, or from where; the default unless given.

    `unset` says what holds where a setting without a default is not set; for the page of settings.
    """
    return field(
        metadata={
            "variable": variable,
            "parse": parse,
            "default": default,
            "doc": doc,
            "is_secret": is_secret,
            "example": example or default,
            "unset": unset,
        },
        repr=not is_secret,
    )


def default_of(declared: Field[Any]) -> Any:
    """The value of a setting whose variable is not set."""
    return _parse(declared, None)


def read_fields(settings: type, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values by field, and the faults by variable; a faulty or empty variable counts as unset."""
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for declared in fields(settings):
        variable = declared.metadata["variable"]
        try:
            values[declared.name] = _parse(declared, environ.get(variable))
        except ValueError as error:
            values[declared.name] = default_of(declared)
            example = declared.metadata["example"]
            faults[variable] = f"{variable} must be {error}" + (f", such as {example}" if example else "")
    return values, faults


def _parse(declared: Field[Any], raw: str | None) -> Any:
    raw = raw or declared.metadata["default"]
    return None if raw is None else declared.metadata["parse"](raw)
