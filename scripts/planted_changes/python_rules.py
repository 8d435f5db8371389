"""The one-line changes of a Python file: found in its syntax tree, written as edits of its text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SWAPPED = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
    "+": "-", "-": "+", "*": "//", "/": "*", "//": "*", "%": "//", "and": "or", "or": "and",
}  # fmt: skip
SWAPPED_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
HEADER = re.compile(
    r"(x|content|cache|access|cross|vercel|cdn|if|retry|accept|user|www|transfer|idempotency|last)-[a-z-]+"
    r"|etag|vary|allow|location|link|age|server|connection|authorization",
    re.IGNORECASE,
)
MAX_LINES = 8
# What a call of these says is for a person who reads the log; crash points do nothing outside their tests.
SILENT = re.compile(r"^(_?log|_?logger|logging)\.(debug|info)\(|^crash_point\(|^assert_never\(")
MESSAGES = re.compile(r"^(_?log|_?logger|logging)\.\w+$")


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text between two places (line from one, column in characters) by `text`."""

    rule: str
    start: tuple[int, int]
    end: tuple[int, int]
    text: str


class PythonRules:
    """Finds the edits of one source text."""

    def __init__(self, source: str) -> None:
        self._lines = source.split("\n")
        self._tree = ast.parse(source)
        self._tokens = [
            token
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type in (tokenize.OP, tokenize.NAME)
        ]
        self._starts = [token.start for token in self._tokens]
        # A field that is never set is an AttributeError at its first use.
        self._is_construction = False

    def edits(self) -> Iterator[Edit]:
        """Every edit, in the order of the tree."""
        yield from self._of_block(self._tree.body)

    def _of_block(self, nodes: list[ast.stmt]) -> Iterator[Edit]:
        for node in nodes:
            if not _is_inert(node):
                yield from self._of(node)

    def _of(self, node: ast.AST) -> Iterator[Edit]:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._is_construction = node.name == "__init__"
        if isinstance(node, ast.stmt):
            yield from self._dropped(node)
        if isinstance(node, ast.expr):
            yield from self._of_expression(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Await):
            yield self._replace("await dropped", node, self._text(node.value.value))
        yield from self._of_condition(node)
        yield from self._of_headers(node)
        for name, field in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
                continue
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.stmt):
                    yield from self._of_block([child])
                elif isinstance(child, ast.AST) and not _is_message(node, child):
                    yield from self._of(child)

    def _of_expression(self, node: ast.expr) -> Iterator[Edit]:
        match node:
            case ast.Compare(left=left, comparators=comparators):
                operands = [left, *comparators]
                for first, second in pairwise(operands):
                    yield from self._comparison(first, second)
            case ast.BoolOp(values=values):
                for first, second in pairwise(values):
                    yield from self._swap("and/or", first, second, {"and", "or"})
            case ast.BinOp(left=left, right=right):
                if not any(isinstance(side, (ast.JoinedStr, ast.List)) or _is_text(side) for side in (left, right)):
                    yield from self._swap("operator", left, right, {"+", "-", "*", "/", "//", "%"})
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self._replace("negated condition", node, self._text(operand))
            case ast.Call():
                yield from self._call(node)
            case ast.Constant():
                yield from self._constant(node)
            case _:
                return

    def _comparison(self, first: ast.expr, second: ast.expr) -> Iterator[Edit]:
        found = self._between(first, second, {"is", "not", "in", *SWAPPED})
        words = [token.string for token in found]
        if words == ["is", "not"]:
            yield Edit("comparison", found[0].start, found[1].end, "is")
        elif words == ["not", "in"]:
            yield Edit("comparison", found[0].start, found[1].end, "in")
        elif words == ["is"]:
            yield Edit("comparison", found[0].start, found[0].end, "is not")
        elif words == ["in"]:
            yield Edit("comparison", found[0].start, found[0].end, "not in")
        elif len(words) == 1 and words[0] in SWAPPED:
            yield Edit("comparison", found[0].start, found[0].end, SWAPPED[words[0]])

    def _call(self, node: ast.Call) -> Iterator[Edit]:
        if isinstance(node.func, ast.Name) and node.func.id in SWAPPED_CALLS and node.args:
            yield self._replace("min/max", node.func, SWAPPED_CALLS[node.func.id])
        for keyword in node.keywords:
            if keyword.arg not in (None, "repr") and isinstance(keyword.value, (ast.Constant, ast.Attribute)):
                yield from self._without(keyword)

    def _without(self, keyword: ast.keyword) -> Iterator[Edit]:
        """The call without one of its options, with the comma before or behind it."""
        start, end = self._place(keyword)
        behind = self._tokens[bisect_left(self._starts, end)]
        before = self._tokens[bisect_left(self._starts, start) - 1]
        if behind.string == ",":
            line = self._lines[behind.end[0] - 1]
            blank = (
                len(line) - len(line[behind.end[1] :].lstrip(" ")) if line[behind.end[1] :].strip() else behind.end[1]
            )
            yield Edit("option dropped", start, (behind.end[0], blank), "")
        elif before.string == ",":
            yield Edit("option dropped", before.start, end, "")

    def _constant(self, node: ast.Constant) -> Iterator[Edit]:
        match node.value:
            case bool():
                yield self._replace("constant", node, str(not node.value))
            case int():
                yield self._replace("bound + 1", node, str(node.value + 1))
                if node.value > 0:
                    yield self._replace("bound - 1", node, str(node.value - 1))
            case float():
                yield self._replace("constant", node, repr(node.value * 2 or 1.0))
            case _:
                return

    def _of_condition(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                tests = [test]
            case ast.comprehension(ifs=ifs):
                tests = ifs
            case _:
                return
        for test in tests:
            if not isinstance(test, ast.UnaryOp) and not (isinstance(test, ast.Compare) and len(test.ops) == 1):
                yield self._replace("negated condition", test, f"not ({self._text(test)})")

    def _of_headers(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.Dict(keys=keys, values=values):
                pairs = [(key, value) for key, value in zip(keys, values, strict=True) if key is not None]
            case ast.Tuple(elts=[key, value]):
                pairs = [(key, value)]
            case ast.Assign(targets=[ast.Subscript(slice=key)], value=value):
                pairs = [(key, value)]
            case _:
                return
        for key, value in pairs:
            if not (isinstance(key, ast.Constant) and isinstance(key.value, (str, bytes))):
                continue
            name = key.value if isinstance(key.value, str) else key.value.decode("latin-1")
            if HEADER.fullmatch(name):
                yield self._replace("header renamed", key, repr(_other(key.value)))
                if isinstance(value, ast.Constant) and isinstance(value.value, (str, bytes)):
                    yield self._replace("header changed", value, repr(_other(value.value)))

    def _dropped(self, node: ast.stmt) -> Iterator[Edit]:
        match node:
            case ast.Expr(value=ast.Call() | ast.Await()):
                if SILENT.search(self._text(node)):
                    return
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"))]) if self._is_construction:
                return
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign() | ast.Raise():
                pass
            case ast.Return(value=None) | ast.Continue() | ast.Break():
                pass
            case _:
                return
        yield self._replace("statement dropped", node, "pass")

    def _swap(self, rule: str, first: ast.expr, second: ast.expr, words: set[str]) -> Iterator[Edit]:
        for token in self._between(first, second, words)[:1]:
            yield Edit(rule, token.start, token.end, SWAPPED[token.string])

    def _between(self, first: ast.expr, second: ast.expr, words: set[str]) -> list[tokenize.TokenInfo]:
        left, right = self._place(first)[1], self._place(second)[0]
        inside = self._tokens[bisect_left(self._starts, left) : bisect_left(self._starts, right)]
        return [token for token in inside if token.string in words]

    def _replace(self, rule: str, node: ast.expr | ast.stmt, text: str) -> Edit:
        return Edit(rule, *self._place(node), text)

    def _place(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where a node begins and ends; the tree counts columns in bytes, tokens in characters."""
        last, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        return (node.lineno, self._column(node.lineno, node.col_offset)), (last, self._column(last, end))

    def _column(self, line: int, offset: int) -> int:
        return len(self._lines[line - 1].encode()[:offset].decode())

    def _text(self, node: ast.expr | ast.stmt) -> str:
        (first, start), (last, end) = self._place(node)
        lines = self._lines[first - 1 : last]
        lines[-1] = lines[-1][:end]
        lines[0] = lines[0][start:]
        return "\n".join(lines)


def python_edits(source: str) -> list[Edit]:
    """Every edit of `source` that spans few lines and still compiles, in the order of its lines."""
    found = {(edit.start, edit.end, edit.text): edit for edit in PythonRules(source).edits()}
    return [edit for _, edit in sorted(found.items()) if edit.end[0] - edit.start[0] < MAX_LINES]


def _is_inert(node: ast.stmt) -> bool:
    """Whether nothing of a statement runs, or only to import, to document or to type."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Pass():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case _:
            return False


def _is_message(parent: ast.AST, child: ast.AST) -> bool:
    """Whether `child` is an argument of a log line, or how a value is shown: these words are nobody's promise."""
    if isinstance(parent, ast.keyword) and parent.arg == "repr":
        return True
    return isinstance(parent, ast.Call) and child is not parent.func and bool(MESSAGES.match(ast.unparse(parent.func)))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))


def _other(value: str | bytes) -> str | bytes:
    return f"{value}x" if isinstance(value, str) else value + b"x"
