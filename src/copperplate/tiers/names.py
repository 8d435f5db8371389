"""What the names of kept pictures stand for, in memory: least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.feed import Fill
    from copperplate.ports.kept_pictures import KeptPicture

# About one kilobyte each.
MAX_NAMES: Final = 2_000


class KnownNames:
    """At most `max_names`, of public kinds. All of it runs without yielding."""

    def __init__(self, *, max_names: int = MAX_NAMES) -> None:
        self._max_names = max_names
        self._names: OrderedDict[str, tuple[KeptPicture, Fill]] = OrderedDict()
        self._names_of: dict[str, set[str]] = {}  # by generation

    def find(self, name: str) -> KeptPicture | None:
        """What that name stands for; None where it is not known here."""
        if (known := self._names.get(name)) is None:
            return None
        self._names.move_to_end(name)
        return known[0]

    def keep(self, name: str, kept: KeptPicture, fill: Fill) -> None:
        """Remember what a name stands for."""
        self._remove(name)
        self._names[name] = (kept, fill)
        self._names_of.setdefault(kept.generation_key, set()).add(name)
        if len(self._names) > self._max_names:
            self._remove(next(iter(self._names)))

    def drop_wrong(self, generation_key: str | None, is_right: Callable[[str, Fill], bool]) -> None:
        """Forget the names of a generation, or all, that are not right."""
        names = list(self._names if generation_key is None else self._names_of.get(generation_key, ()))
        for name in names:
            kept, fill = self._names[name]
            if not is_right(kept.generation_key, fill):
                self._remove(name)

    def __len__(self) -> int:
        return len(self._names)

    def _remove(self, name: str) -> None:
        if (known := self._names.pop(name, None)) is None:
            return
        key = known[0].generation_key
        self._names_of[key].discard(name)
        if not self._names_of[key]:
            del self._names_of[key]
