"""The kinds of pictures a process makes, each with its provider and its store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from copperplate.model import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from copperplate.ports import ObjectStore, Provider
    from copperplate.recipes.kinds import KindSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of picture: who makes it, where its objects live, and how large they may be."""

    provider: Provider
    store: ObjectStore
    # What `store` has to do for a picture of this kind, whatever its size.
    needs: Needs = field(default_factory=Needs)
    # How long callers wait; None: as long as for any picture.
    wait: timedelta | None = None
    # Limit of a finished picture; encoding fails where it cannot be met. None: only the store's own limit.
    max_bytes: int | None = None

    @classmethod
    def of(cls, spec: KindSpec, *, provider: Provider, store: ObjectStore, wait: timedelta) -> Kind:
        """A kind as it is specified; `wait` is how long callers wait for any picture."""
        return cls(
            provider=provider,
            store=store,
            needs=spec.needs,
            wait=None if spec.wait_factor == 1 else wait * spec.wait_factor,
            max_bytes=spec.max_bytes,
        )

    @property
    def store_breaker(self) -> str:
        """The name of the store's breaker."""
        return f"storage:{self.store.bucket}"

    def breakers(self, model: str) -> tuple[str, str, str]:
        """The names of the breakers that a submit with that model depends on."""
        return (self.provider.name, model_of(self.provider.name, model), self.store_breaker)


def offers(kinds: Mapping[str, Kind], kind: str, model: str) -> bool:
    """Whether one of `kinds` is this kind, and its provider makes pictures by this model."""
    return kind in kinds and model in kinds[kind].provider.models


def model_of(provider: str, model: str) -> str:
    """The name of the breaker of one model of a provider; its other models have their own."""
    return f"{provider}/{model}"
