"""Show every step from a request to its keys, and why two requests differ."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from copperplate.errors import NotFound
from copperplate.recipes.canonical import canonical_bytes
from copperplate.recipes.display import default_rendition, rungs_of
from copperplate.recipes.image import DEFAULT_MODEL, rendition_recipe, standard_settings
from copperplate.recipes.text import compose
from copperplate.recipes.url import AUTO, in_format, parse_picture_url, split_url, without_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from copperplate.model import CanonicalValue, PictureRequest
    from copperplate.recipes.url import PictureQuery, PictureUrl

_NONE: Final = "(none)"
_NOT_A_CHOICE: Final = frozenset({"generation", "kind", "v"})  # the same in every rendition, or a key


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class InJson:
    """What programs read as well as people."""

    def as_dict(self) -> dict[str, Any]:
        """Every field by name, ready for JSON."""
        return asdict(self)

    def as_json(self) -> str:
        """The fields as an indented JSON object."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Explanation(InJson):
    """Every step from a request to its two keys, in order. Holds the prompt, so it has no repr.

    `parameters` are the raw parts of the query; `canvas` is the size that the provider makes, `size` what the caller
    gets; `rungs` are the values that display parameters went up to, `defaults` what was filled in; the recipes are in
    their canonical JSON, whose UTF-8 bytes are hashed.
    """

    path: str
    query: str
    parameters: tuple[str, ...]
    parameters_used: tuple[str, ...]
    parameters_ignored: tuple[str, ...]
    text_decoded: str
    text_composed: str
    text_folded: str
    canvas: str
    rungs: Mapping[str, str] = field(hash=False)
    size: str
    format: str
    defaults: Mapping[str, str] = field(hash=False)
    generation_recipe: str
    generation_key: str
    rendition_recipe: str
    rendition_key: str
    sql: str

    def as_table(self) -> str:
        """The steps as two columns; characters that cannot be seen are written as escapes."""
        return as_table(
            [
                ("path", self.path),
                ("query", self.query),
                ("parameters used", ", ".join(self.parameters_used)),
                ("parameters ignored", ", ".join(self.parameters_ignored) or _NONE),
                ("text, decoded", _visible(self.text_decoded)),
                ("text, in NFC", _visible(self.text_composed)),
                ("text, white space folded", _visible(self.text_folded)),
                ("canvas", self.canvas),
                ("rungs", listed(self.rungs)),
                ("size and format", f"{self.size} {self.format}"),
                ("filled in", listed(self.defaults)),
                ("generation recipe", self.generation_recipe),
                ("generation key", self.generation_key),
                ("rendition recipe", self.rendition_recipe),
                ("rendition key", self.rendition_key),
                ("find it", self.sql),
            ]
        )


class Explained(Protocol):
    """What two explanations are compared by: canonical JSON, and the keys made of it."""

    @property
    def generation_recipe(self) -> str:
        """What the provider is paid for."""

    @property
    def generation_key(self) -> str:
        """Its key."""

    @property
    def rendition_recipe(self) -> str:
        """The form in which it is kept."""

    @property
    def rendition_key(self) -> str:
        """Its key."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Difference:
    """One recipe field that differs; None where that request's recipe has no such field."""

    field: str
    first: CanonicalValue | None
    second: CanonicalValue | None
    detail: str

    def as_text(self) -> str:
        """Both values and, for text, where and in which code points they part."""
        values = f"{self.first!r} / {self.second!r}"
        return f"{values}; {self.detail}" if self.detail else values


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison(InJson):
    """Why two requests differ, or that they do not."""

    is_same_generation: bool
    is_same_rendition: bool
    verdict: str
    differences: tuple[Difference, ...]

    def as_table(self) -> str:
        """The verdict, then every difference; invisible characters are written as escapes."""
        return as_table(
            [("verdict", self.verdict), *((difference.field, difference.as_text()) for difference in self.differences)]
        )


def explain(
    request: str,
    *,
    default_model: str = DEFAULT_MODEL,
    model_parameters: Callable[[str], Iterable[str]] = standard_settings,
) -> Explanation:
    """Explain a picture's URL, or the path and query of one.

    `model_parameters` answers a model's fixed settings. `.auto` is explained as jpg, which it is where nothing else is
    negotiated. Raises `NotFound` where it is not a picture's URL and the `InvalidRequest` that a server would answer
    where it is a wrong one.
    """
    path, query = split_url(request)
    url = parse_picture_url(
        in_format(unquote(path)),
        query.encode(errors="surrogatepass"),
        default_model=default_model,
        model_parameters=model_parameters,
    )
    if url is None:
        message = "This is not a picture's address. Those read /1024x1024.jpg?text=A%20beautiful%20sunset"
        raise NotFound(message)
    return _explanation(path, query, url)


def _explanation(path: str, query: str, url: PictureUrl) -> Explanation:
    given, picture = url.query, url.picture_request
    query = without_signature(query)  # an explanation is shown around; whoever has the signature may spend
    return Explanation(
        path=path,
        query=query,
        parameters=tuple(part for part in query.split("&") if part),
        parameters_used=given.used,
        parameters_ignored=given.ignored,
        text_decoded=given.text,
        text_composed=compose(given.text),
        text_folded=str(picture.recipe["prompt"]),
        canvas=str(picture.canvas),
        rungs={name: str(rung) for name, rung in rungs_of(given.display).items() if name in given.used},
        size=str(picture.size),
        format=picture.rendition.format.value,
        defaults=({"format": "jpg"} if unquote(path).endswith(AUTO) else {}) | _defaults(given, picture),
        generation_recipe=canonical_bytes(picture.recipe).decode(),
        generation_key=picture.generation_key,
        rendition_recipe=canonical_bytes(rendition_recipe(picture.generation_key, picture.rendition)).decode(),
        rendition_key=picture.rendition_key,
        sql=_sql(picture),
    )


def _sql(picture: PictureRequest) -> str:
    # `image_cache` has one row per format, which is of this rendition wherever it is kept; of others it may be.
    where = f"where prompt_hash = '{picture.rendition_key}'"
    if picture.rendition == default_rendition(picture.rendition.format):
        return f"select * from public.image_cache {where};"  # noqa: S608 - shown, not run
    columns = "prompt_hash, generation_hash, format, file_size, access_count, object_path"
    one, other = (f"select {columns} from public.{view} {where}" for view in ("image_renditions", "image_cache"))  # noqa: S608
    return f"{one} union all {other};"


def _defaults(given: PictureQuery, picture: PictureRequest) -> dict[str, str]:
    filled = {} if given.model else {"model": picture.model}
    if not given.seed:
        filled["seed"] = '""'
    if isinstance(settings := picture.recipe["settings"], list) and settings:
        filled["settings"] = " ".join(settings)
    if picture.rendition.quality is not None and "q" not in given.display:
        filled["quality"] = str(picture.rendition.quality)
    return filled


def compare(first: Explained, second: Explained) -> Comparison:
    """List the recipe fields in which two requests differ, and say what that costs."""
    one, other = _choices(first), _choices(second)
    same_generation = first.generation_key == second.generation_key
    same_rendition = first.rendition_key == second.rendition_key
    if same_rendition:
        verdict = "The same picture: one entry answers both."
    elif same_generation:
        verdict = "One generation in two renditions: the provider is paid once."
    else:
        verdict = "Two generations: the provider is paid for each."
    return Comparison(
        is_same_generation=same_generation,
        is_same_rendition=same_rendition,
        verdict=verdict,
        differences=tuple(
            _difference(name, one.get(name), other.get(name))
            for name in sorted({*one, *other})
            if one.get(name) != other.get(name)
        ),
    )


def _choices(explanation: Explained) -> dict[str, CanonicalValue]:
    choices: dict[str, CanonicalValue] = json.loads(explanation.generation_recipe)
    rendition = json.loads(explanation.rendition_recipe)
    for name in rendition.keys() - _NOT_A_CHOICE:
        # The canvas has a width and a height of its own.
        choices[f"rendition {name}" if name in ("width", "height") else name] = rendition[name]
    return choices


def _difference(name: str, first: CanonicalValue | None, second: CanonicalValue | None) -> Difference:
    detail = ""
    if name == "prompt":
        detail = _describe_texts(str(first), str(second))
    return Difference(field=name, first=first, second=second, detail=detail)


def _describe_texts(first: str, second: str) -> str:
    """Where two texts part, in code points: letters may look the same and not be."""
    at = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    if at is None:
        at = min(len(first), len(second))
    where = f"they part at character {at + 1}: {_describe_at(first, at)} / {_describe_at(second, at)}"
    return f"{where}; letter case counts" if first.casefold() == second.casefold() else where


def _describe_at(text: str, at: int) -> str:
    if at >= len(text):
        return "the end"
    return f"U+{ord(text[at]):04X} {unicodedata.name(text[at], 'without a name')}"


def _visible(text: str) -> str:
    return f"{text!r}, {len(text)} code points"


def listed(fields: Mapping[str, str]) -> str:
    """Fields and their values on one line."""
    return ", ".join(f"{name}={value}" for name, value in fields.items()) or _NONE


def as_table(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values as two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
