"""The models that a provider offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.errors import InvalidModel

if TYPE_CHECKING:
    from copperplate.ports import Provider


def model_parameters(provider: Provider, model: object) -> tuple[str, ...]:
    """The fixed parameters of a model, which are part of its recipes; raises `InvalidModel` where it is not offered."""
    if model not in provider.models:
        raise InvalidModel("This model is not offered. Offered: " + ", ".join(provider.models) + ".")
    return provider.settings(str(model))
