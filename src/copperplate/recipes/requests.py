"""From a canonical recipe, as the ledger keeps it, back to the request it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.errors import InvalidRequest
from copperplate.model import PictureFormat, PictureRequest, Rendition
from copperplate.recipes.canonical import cache_key
from copperplate.recipes.display import DISPLAY_NAMES, default_rendition, parse_display
from copperplate.recipes.image import rendition_key
from copperplate.recipes.kinds import KINDS, provider_input_of
from copperplate.recipes.objects import original_key
from copperplate.recipes.processed import AS_MADE
from copperplate.recipes.url import in_format, parse_picture_path, read_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue, Size


def request_of_recipe(recipe: Mapping[str, CanonicalValue], paths: Sequence[str] = ()) -> PictureRequest:
    """The request for the picture of this recipe, in the form of the first of `paths` (path and query).

    Where that names none, it is the form its kind is usually shown in: jpg, or its own original. The recipe is taken as
    it is, so its key is the one it was kept under, whatever became of defaults and templates. Raises `ValueError`,
    `TypeError` or `KeyError` for what is no canonical recipe of a kind there is.
    """
    canvas = provider_input_of(recipe).size
    kind, generation_key = str(recipe["kind"]), cache_key(recipe)
    if KINDS[kind].is_own_original:
        rendition = AS_MADE
        shown_key = original_key(generation_key)
    else:
        rendition = _form_of(paths, canvas) or default_rendition(PictureFormat.JPG)
        shown_key = rendition_key(generation_key, rendition)
    return PictureRequest(
        kind=kind,
        recipe=recipe,
        generation_key=generation_key,
        rendition_key=shown_key,
        rendition=rendition,
        canvas=canvas,
    )


def _form_of(paths: Sequence[str], canvas: Size) -> Rendition | None:
    """The form that the first of these addresses asks for; None where it is none of this picture, or none any more."""
    path, _, query = (paths[0] if paths else "").partition("?")
    try:
        parsed = parse_picture_path(in_format(path))
        if parsed is None or parsed[:2] != (canvas.width, canvas.height):
            return None
        values, _ = read_parameters(query.encode(), DISPLAY_NAMES)
        return parse_display(values, canvas, parsed[2]).rendition
    except InvalidRequest:
        return None
