"""What was asked for most lately, as items that can be asked for again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from copperplate.recipes.kinds import IMAGE
from copperplate.recipes.memoji import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.ports import Wishes

# One address of a picture is asked for by its text, size, model and seed. A model's fixed settings are today's.
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    IMAGE.name: ("prompt", "width", "height", "model", "seed"),
}
MAX_DAYS: Final = 365
MAX_TOP: Final = 1_000


async def popular_items(
    ledger: Wishes, *, days: int, top: int, dimensions: str | None = None, model: str | None = None
) -> list[dict[str, Any]]:
    """The `top` most asked for in the last `days`, as `POST /api/generate` takes them, the most asked first.

    With `dimensions` or `model` the prompts among them in that size and by that model: memoji have no prompt, and are
    left out. Items may repeat each other then.
    """
    recipes = await ledger.popular_recipes(days=days, limit=top)
    asked = {"dimensions": dimensions, "model": model}
    changed = {name: value for name, value in asked.items() if value is not None}
    return [_item_of(recipe, changed) for recipe in recipes if not changed or recipe["kind"] == IMAGE.name]


def _item_of(recipe: Mapping[str, Any], changed: Mapping[str, str]) -> dict[str, Any]:
    kind = str(recipe["kind"])
    names = _MEMBERS.get(kind, FIELDS)
    dropped = {"width", "height"} if "dimensions" in changed else set()
    # An empty seed is none.
    members = {name: recipe[name] for name in names if name not in dropped and recipe.get(name) not in (None, "")}
    return {"kind": kind, **members, **changed}
