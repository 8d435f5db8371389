"""What a request says of processing, by its query and its body: model, parameters, parent and crop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import InvalidQuery, NotFound
from copperplate.http.parameters import refuse_unknown_members
from copperplate.http.process_bodies import NAMING, SOURCE
from copperplate.recipes.url import MAX_QUERY_BYTES, read_parameters
from copperplate.source_errors import InvalidParameter
from copperplate.source_pictures import Crop, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from copperplate.http.process_bodies import RequestBody
    from copperplate.processing_models import ProcessingModel

MODEL: Final = "model"
PARENT: Final = "parent"
CROP: Final = "crop"
# They say where the bytes come from: what is kept here says it itself.
_OF_NEW: Final = frozenset({PARENT, CROP})
_RECTANGLE: Final = re.compile(r"([0-9]{1,6}),([0-9]{1,6}),([0-9]{1,6}),([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessParameters:
    """What is asked for, as sent: `ignored` are the names that mean nothing here."""

    model: str | None
    parameters: Mapping[str, str]
    parent: str | None = None
    crop: Crop | None = None
    ignored: Sequence[str] = ()


def operation_named(name: str) -> Operation:
    """The operation of that name. Raises `NotFound`, which names those that are offered."""
    try:
        return Operation(name)
    except ValueError:
        raise NotFound(f"There is no such operation. Offered: {', '.join(Operation)}.") from None


def known_names(models: Iterable[ProcessingModel], *, with_new: bool = True) -> frozenset[str]:
    """Every name that means something of one of these models, or of any."""
    of_models = {parameter.name for model in models for parameter in model.parameters}
    return frozenset({MODEL, *of_models, *(_OF_NEW if with_new else ())})


def read_query(query: bytes, known: frozenset[str]) -> Mapping[str, str]:
    """The known parameters of a query, decoded. Raises `InvalidQuery`, for one that is given twice too."""
    if len(query) > MAX_QUERY_BYTES:
        raise InvalidQuery(f"The query is longer than {MAX_QUERY_BYTES:,} bytes.")
    return read_parameters(query, known)[0]


def read_process_parameters(
    query: Mapping[str, str], body: RequestBody, models: Iterable[ProcessingModel]
) -> ProcessParameters:
    """What query and body say together.

    A field of a form that is blank says nothing. Raises `InvalidParameter` for what is said twice, for a crop that is
    none, or that names no parent, and `UnknownParameter` for a member of JSON that means nothing.
    """
    known = known_names(models, with_new=body.named is None or body.named[0] != SOURCE)
    if body.is_strict:
        refuse_unknown_members(dict(body.fields), known | set(NAMING))
        refuse_unknown_members(dict(query), known)
    given = {name: value for name, value in body.fields.items() if name in known}
    if not body.is_strict:
        given = {name: value for name, value in given.items() if value.strip() or name in body.repeated}
    if twice := sorted(name for name in given if name in query or name in body.repeated):
        raise InvalidParameter(f"{twice[0]} is said twice. Say it once, in the body or in the query.")
    ignored = [name for name in body.fields if name not in known]
    given |= query
    crop = _crop(given.pop(CROP, None))
    parent = given.pop(PARENT, None)
    if crop is not None and parent is None:
        raise InvalidParameter("A crop names the picture it was cut from as `parent`.")
    return ProcessParameters(model=given.pop(MODEL, None), parameters=given, parent=parent, crop=crop, ignored=ignored)


def _crop(text: str | None) -> Crop | None:
    if text is None:
        return None
    found = _RECTANGLE.fullmatch(text.replace(" ", ""))
    left, top, width, height = (int(number) for number in found.groups()) if found else (0, 0, 0, 0)
    if width == 0 or height == 0:
        raise InvalidParameter("crop is left,top,width,height of the parent in px, as 0,0,512,512.")
    return Crop(left=left, top=top, width=width, height=height)
