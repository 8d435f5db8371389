"""The reference as a page, made from the OpenAPI document. No script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Document = Mapping[str, Any]

METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
_LIMITS: Final = ("enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "default")
_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title: every address</title>
<style>
body { font: 1rem/1.55 Georgia, "Times New Roman", serif; max-width: 52rem; margin: 3rem auto; padding: 0 1.2rem; }
h1, h2 { font-weight: normal; }
h2 { border-top: 1px solid; padding-top: 1rem; margin-top: 2.5rem; overflow-wrap: anywhere; }
code, h2 { font: .95rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; }
</style>
</head>
<body>
<main>
<h1>$title $version</h1>
<p>$description For programs: <a href="/openapi.json">openapi.json</a>.</p>
$operations
<h1>Shapes</h1>
$shapes
</main>
</body>
</html>
""")


def render(document: Document) -> str:
    """The whole page."""
    operations = [
        _operation(method, path, {**item[method], "parameters": _parameters_of(item, method)})
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]
    shapes = [_shape(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    title = {key: escape(document["info"][key]) for key in ("title", "version", "description")}
    return _PAGE.substitute(title, operations="\n".join(operations), shapes="\n".join(shapes))


def _parameters_of(item: Document, method: str) -> list[Document]:
    """Those of the path, then those of the operation."""
    return [*item.get("parameters", ()), *item[method].get("parameters", ())]


def _operation(method: str, path: str, operation: Document) -> str:
    parameters = _table(
        ("parameter", "in", "", "meaning"),
        [
            (
                f"<code>{escape(parameter['name'])}</code>",
                parameter["in"],
                "required" if parameter.get("required") else "",
                " ".join(filter(None, (escape(parameter.get("description", "")), _limits(parameter["schema"])))),
            )
            for parameter in operation["parameters"]
        ],
    )
    answers = _table(
        ("answer", "means", "shape"),
        [
            (f"<code>{status}</code>", escape(answer["description"]), _shapes_of(answer))
            for status, answer in operation["responses"].items()
        ],
    )
    summary = escape(operation.get("description") or operation.get("summary", ""))
    body = f"<p>Body: {_shapes_of(operation['requestBody'])}</p>\n" if "requestBody" in operation else ""
    return f"<h2>{method.upper()} {escape(path)}</h2>\n<p>{summary}</p>\n{parameters}{body}{answers}"


def _shape(name: str, schema: Document) -> str:
    fields = [
        (f"<code>{escape(field)}</code>", _type_of(value), escape(value.get("description", "")))
        for field, value in schema.get("properties", {}).items()
    ]
    summary = escape(schema.get("description", ""))
    return (
        f'<h2 id="{escape(name)}">{escape(name)}</h2>\n<p>{summary}</p>\n{_table(("field", "type", "meaning"), fields)}'
    )


def _shapes_of(message: Document) -> str:
    """What a request or an answer may hold: its shapes where it is JSON, else its media types."""
    shapes = {
        _type_of(content.get("schema", {})) if "json" in media else f"<code>{escape(media)}</code>"
        for media, content in message.get("content", {}).items()
    }
    return ", ".join(sorted(shapes))


def _type_of(schema: Document) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type_of, schema["anyOf"]))
    if "items" in schema:
        return f"list of {_type_of(schema['items'])}"
    return escape(str(schema.get("type", "anything")))


def _limits(schema: Document) -> str:
    return " ".join(f"<code>{limit} {escape(str(schema[limit]))}</code>" for limit in _LIMITS if limit in schema)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of cells that are HTML already; nothing where there are no rows."""
    if not rows:
        return ""
    lines = ["".join(f"<th>{cell}</th>" for cell in head), *("".join(f"<td>{c}</td>" for c in row) for row in rows)]
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>\n"
