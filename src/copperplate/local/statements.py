"""Splits a file of SQL into statements, the way `supabase migration up` records them.

A semicolon ends a statement unless it stands inside quotes, a comment, parentheses (the actions of a
rule) or a `begin atomic … end` body. Comments stay with the statement that follows them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Alternatives in order: what hides semicolons comes before what counts them.
TOKEN = re.compile(
    r"""
      (?P<line_comment> --[^\n]* )
    | (?P<block_comment> /\* )
    | (?P<escape_string> (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) )
    | (?P<string> '(?:[^']|'')*(?:'|\Z) )
    | (?P<identifier> "(?:[^"]|"")*(?:"|\Z) )
    | (?P<dollar> (?<![\w$])\$(?:[^\W\d]\w*)?\$ )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<mark> [();] )
    """,
    re.VERBOSE | re.DOTALL,
)
BLOCK_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement without its semicolon, and the line of the file it begins on."""

    text: str
    line: int


def split_statements(script: str) -> list[Statement]:
    """Return the statements of `script` in order; what is empty between semicolons is left out."""
    statements = []
    start = 0
    for end in (*_find_ends(script), len(script)):
        piece = script[start:end]
        if text := piece.strip("; \t\r\n\f\v"):
            begin = start + piece.index(text)
            statements.append(Statement(text=text, line=script.count("\n", 0, begin) + 1))
        start = end
    return statements


def _find_ends(script: str) -> Iterator[int]:
    """Yield the position behind each semicolon that ends a statement."""
    parentheses = 0
    bodies = 0
    previous_word = ""
    position = 0
    while token := TOKEN.search(script, position):
        position = token.end()
        match token.lastgroup:
            case "block_comment":
                position = _skip_block_comment(script, position)
            case "dollar":
                closing = script.find(token[0], position)
                position = len(script) if closing < 0 else closing + len(token[0])
            case "word":
                word = token[0].lower()
                bodies += _body_depth_change(word, previous_word, bodies)
                previous_word = word
            case "mark" if token[0] != ";":
                parentheses = max(0, parentheses + (1 if token[0] == "(" else -1))
            case "mark" if not parentheses and not bodies:
                previous_word = ""
                yield position
            case _:
                pass


def _body_depth_change(word: str, previous_word: str, bodies: int) -> int:
    """Return how far `word` leads into or out of a `begin atomic` body, where `case` has an `end` too."""
    if word == "atomic" and previous_word == "begin":
        return 1
    if bodies and word == "case" and previous_word != "end":
        return 1
    return -1 if bodies and word == "end" else 0


def _skip_block_comment(script: str, position: int) -> int:
    depth = 1
    while depth:
        edge = BLOCK_EDGE.search(script, position)
        if edge is None:
            return len(script)
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position
