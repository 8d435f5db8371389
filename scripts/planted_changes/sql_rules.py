"""The one-line changes of a migration: found line by line, each with the function or the file it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_LINES = 8
NAMED = re.compile(r"\b(?:function|procedure)\s+((?:public|copperplate)\.\w+)")
LITERAL = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True, slots=True)
class SqlEdit:
    """Replace the lines `first` to `last` (from one, inclusive) of a migration by `text`."""

    owner: str
    rule: str
    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a migration and the function it makes or is about, if any."""

    first: int
    last: int
    text: str
    owner: str | None


def statements(source: str) -> Iterator[Statement]:
    """The statements of a migration; a body between dollar signs belongs to the statement around it."""
    first, lines, quoted = 0, list[str](), False
    for number, line in enumerate(source.split("\n"), 1):
        code = line.partition("--")[0].rstrip()
        if not lines and not code:
            continue
        first = first if lines else number
        lines.append(line)
        quoted ^= code.count("$$") % 2 == 1
        text = "\n".join(lines)
        is_open = text.startswith("comment on") and LITERAL.sub("", text).count("'") % 2 == 1
        if code.endswith(";") and not quoted and not is_open:
            named = NAMED.search(text)
            yield Statement(first, number, text, named[1] if named else None)
            lines = []


def sql_edits(source: str, *, file_owner: str) -> list[SqlEdit]:
    """Every edit of a migration, in the order of its lines; what no function owns belongs to `file_owner`."""
    return [edit for statement in statements(source) for edit in _of(statement, file_owner)]


def _of(statement: Statement, file_owner: str) -> Iterator[SqlEdit]:
    owner = statement.owner or file_owner
    head = statement.text.split(None, 2)
    if head[0] in ("grant", "revoke"):
        yield SqlEdit(owner, f"{head[0]} dropped", statement.first, statement.last, "")
        return
    if head[0] in ("comment", "drop"):
        return
    if head[0] == "alter" and "row level security" in statement.text:
        yield SqlEdit(owner, "row-level security left off", statement.first, statement.last, "")
        return
    if re.match(r"create (unique )?index|create policy", statement.text):
        if statement.last - statement.first < MAX_LINES and "unique" in statement.text:
            yield SqlEdit(owner, "unique index dropped", statement.first, statement.last, "")
        return
    lines = statement.text.split("\n")
    for number, line in enumerate(lines, statement.first):
        code = line.partition("--")[0].rstrip()
        if code.strip():
            for rule, text in _of_line(code):
                yield SqlEdit(owner, rule, number, number, text)
    yield from _dropped_calls(owner, lines, statement.first)


def _dropped_calls(owner: str, lines: list[str], first: int) -> Iterator[SqlEdit]:
    """`perform` and assignments of a procedural body, on one line or over few."""
    for place, line in enumerate(lines):
        if not re.match(r"\s+(perform |v[\w.]* := |return;|continue;|raise exception )", line):
            continue
        for length in range(1, MAX_LINES):
            if place + length <= len(lines) and lines[place + length - 1].partition("--")[0].rstrip().endswith(";"):
                indent = line[: len(line) - len(line.lstrip())]
                yield SqlEdit(owner, "statement dropped", first + place, first + place + length - 1, f"{indent}null;")
                break


def _of_line(code: str) -> Iterator[tuple[str, str]]:
    """The changes of one line, each with its rule."""
    for rule in (_comparisons, _words, _locks, _numbers, _arguments, _clauses, _assignments):
        yield from rule(code)


def _masked(code: str) -> str:
    """The line with what stands between quotes blotted out, of the same length."""
    return LITERAL.sub(lambda found: "'" + "\x00" * (len(found[0]) - 2) + "'" if len(found[0]) > 1 else "'", code)


def _swap(code: str, pattern: str, to: Callable[[re.Match[str]], str]) -> Iterator[str]:
    for found in re.finditer(pattern, _masked(code)):
        yield code[: found.start()] + to(found) + code[found.end() :]


CONDITION = re.compile(r"^\s*(where|and|or|on|when|if|elsif|not|constraint|inner join|left join|\(|[\w.() ]+ check \()")
OPERATORS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "<>": "=", "=": "<>"}


def _comparisons(code: str) -> Iterator[tuple[str, str]]:
    is_condition = CONDITION.match(code) and " set " not in code
    for text in _swap(code, r"(?<= )(<=|>=|<>|<|>)(?= )", lambda found: OPERATORS[found[0]]):
        yield "comparison", text
    if is_condition:
        for text in _swap(code, r"(?<= )=(?= )", lambda _: "<>"):
            yield "comparison", text
    if re.match(r"\s*(if|elsif) .* then$", code):
        word, condition = re.match(r"\s*(?:if|elsif) ", code)[0], code.strip().split(" ", 1)[1].removesuffix(" then")  # type: ignore[index]
        yield "negated condition", f"{word}not ({condition}) then"


WORDS = {
    "is null": "is not null", "is not null": "is null", "is distinct from": "is not distinct from",
    "is not distinct from": "is distinct from", "not exists": "exists", "exists": "not exists",
    "and": "or", "or": "and", "not": "", "true": "false", "false": "true", "desc": "", "distinct": "",
    "greatest": "least", "least": "greatest", "min": "max", "max": "min", "any": "all",
    "security definer": "security invoker", "volatile": "stable", "ceil": "floor", "floor": "ceil",
}  # fmt: skip
WORD = re.compile(
    r"\b(is not distinct from|is distinct from|is not null|is null|not exists|(?<!if )exists|(?<!^ )and|or|not|true"
    r"|false|desc|distinct|greatest|least|min|max|any(?= ?\()|security definer|ceil|floor)\b(?!\.)"
)
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*"}


def _words(code: str) -> Iterator[tuple[str, str]]:
    if re.search(r"\bbetween\b|create (or replace )?(function|view|table)|not null,?$", code):
        return
    for found in WORD.finditer(_masked(code)):
        to = WORDS[found[0]]
        end = found.end() + (not to and code[found.end() : found.end() + 1] == " ")
        rule = {"and": "and/or", "or": "and/or", "security definer": "rights"}.get(found[0], "word")
        yield rule, code[: found.start()] + to + code[end:]
    for text in _swap(code, r"(?<=[\w)'] )(?<!select )[-+*/](?= [\w('])", lambda found: ARITHMETIC[found[0]]):
        yield "operator", text


def _locks(code: str) -> Iterator[tuple[str, str]]:
    lock = r" ?\bfor (no key update|update|key share|share)( of \w+)?( skip locked| nowait)?"
    for text in _swap(code, lock, lambda _: ""):
        yield "lock dropped", text
    for text in _swap(code, r" (skip locked|nowait)", lambda _: ""):
        yield "lock waits", text


def _numbers(code: str) -> Iterator[tuple[str, str]]:
    if "errcode" in code or re.search(r"\b(numeric|varchar)\(", code):
        return
    for text in _swap(code, r"(?<![\w.:$])\d+(?![\w.])", lambda found: str(int(found[0]) + 1)):
        yield "bound + 1", text
    for text in _swap(code, r"(?<![\w.:$])[1-9]\d*(?![\w.])", lambda found: str(int(found[0]) - 1)):
        yield "bound - 1", text
    for found in re.finditer(r"'(\d+) (\w+)'", code):
        yield "bound + 1", f"{code[: found.start()]}'{int(found[1]) + 1} {found[2]}'{code[found.end() :]}"


def _arguments(code: str) -> Iterator[tuple[str, str]]:
    """`coalesce(a, b)` the other way round."""
    for found in re.finditer(r"coalesce\(", _masked(code)):
        depth, commas, end = 1, list[int](), found.end()
        while depth and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            if depth == 1 and code[end] == ",":
                commas.append(end)
            end += 1
        if depth == 0 and len(commas) == 1:
            first, second = code[found.end() : commas[0]], code[commas[0] + 1 : end - 1].strip()
            yield "coalesce order", f"{code[: found.end()]}{second}, {first}{code[end - 1 :]}"


def _clauses(code: str) -> Iterator[tuple[str, str]]:
    """A line that is a condition, an order or a limit of a query, dropped."""
    indent = code[: len(code) - len(code.lstrip())]
    clause = code.strip()
    tail = ";" if clause.endswith(";") else ""
    body = clause.removesuffix(";")
    if body.endswith(")") and body.count(")") == body.count("(") + 1:
        body, tail = body.removesuffix(")"), f"){tail}"
    if body.count("(") != body.count(")"):
        return
    if re.match(r"(and|or) ", body) and not body.endswith(" then"):
        yield "clause dropped", indent + tail if tail else ""
    elif body.startswith("where ") and len(body) > len("where "):
        yield "clause dropped", f"{indent}where true{tail}"
    elif re.match(r"(order by|limit|on conflict .* do nothing|offset) ?", body):
        yield "clause dropped", indent + tail if tail else ""
    elif " where " in body and body.count(" where ") == 1:
        yield "clause dropped", f"{indent}{body.partition(' where ')[0]} where true{tail}"


def _assignments(code: str) -> Iterator[tuple[str, str]]:
    """A line `column = value,` of an update, dropped."""
    if re.match(r"\s+[a-z_]+ = .*[^,(],$", code) and code.count("(") == code.count(")"):
        yield "assignment dropped", ""
