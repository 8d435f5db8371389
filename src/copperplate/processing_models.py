"""What can be done to a picture: models of each operation, and their parameters with ranges. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from copperplate.model import Size
from copperplate.source_errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.source_pictures import Operation

# The parameter that says how many times as wide and high a result is.
SCALE: Final = "scale"
# As large as any picture that is decoded.
MAX_RESULT_PIXELS: Final = 4096 * 4096
# Upscalers work on blocks, and may cut what is over: SeedVR2 crops to multiples of 16 px.
BLOCK_PX: Final = 16
_MAX_CHARS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberParameter:
    """A decimal number from `least` to `most`, with so many decimals at most."""

    name: str
    default: Decimal
    least: Decimal
    most: Decimal
    decimals: int = 0

    def canonical(self, value: str) -> str:
        """The one spelling of a value, such as `0.5` for `.50`. Raises `InvalidParameter`."""
        try:
            number = Decimal(value) if len(value) <= _MAX_CHARS and value.isascii() else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite() or not self.least <= number <= self.most:
            raise InvalidParameter(f"{self.name} is a number from {self.least} to {self.most}.")
        if round(number, self.decimals) != number:
            raise InvalidParameter(f"{self.name} has at most {self.decimals} decimals.")
        return _plain(number)

    @property
    def canonical_default(self) -> str:
        """The spelling of its default."""
        return _plain(self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceParameter:
    """One of some words, as they are spelled."""

    name: str
    default: str
    choices: tuple[str, ...]

    def canonical(self, value: str) -> str:
        """The value itself. Raises `InvalidParameter`."""
        if value not in self.choices:
            raise InvalidParameter(f"{self.name} is one of {', '.join(self.choices)}.")
        return value

    @property
    def canonical_default(self) -> str:
        """Its default."""
        return self.default


Parameter = NumberParameter | ChoiceParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingModel:
    """A model that does one operation. A parameter that is not given has its default, which counts as if it were.

    `settings` are the fixed parameters that change pixels, as sorted `name=value`: part of the key.
    """

    name: str
    operation: Operation
    parameters: tuple[Parameter, ...] = ()
    settings: tuple[str, ...] = ()

    def canonical_parameters(self, given: Mapping[str, str]) -> tuple[str, ...]:
        """Every parameter as sorted `name=value`. Raises `InvalidParameter` for a value or a name that it lacks."""
        known = {parameter.name: parameter for parameter in self.parameters}
        if unknown := sorted(given.keys() - known.keys()):
            offered = ", ".join(known) or "none"
            raise InvalidParameter(f"{self.name} has no parameter {unknown[0][:40]!r}. It has: {offered}.")
        return tuple(
            sorted(
                f"{name}={parameter.canonical(given[name]) if name in given else parameter.canonical_default}"
                for name, parameter in known.items()
            )
        )


def scaled(size: Size, parameters: tuple[str, ...]) -> Size:
    """The size in px of the result for a source picture of this size: `scale` times as wide and high."""
    values = dict(parameter.partition("=")[::2] for parameter in parameters)
    scale = Decimal(values.get(SCALE, "1"))
    return Size(width=int(size.width * scale), height=int(size.height * scale))


def least(size: Size, parameters: tuple[str, ...]) -> Size:
    """The smallest result in px that counts as what was asked: `scaled`, less a part of a block where it is scaled."""
    whole = scaled(size, parameters)
    if not any(parameter.startswith(f"{SCALE}=") for parameter in parameters):
        return whole
    return Size(width=_whole_blocks(whole.width), height=_whole_blocks(whole.height))


def _whole_blocks(px: int) -> int:
    return px - px % BLOCK_PX or px


def _plain(number: Decimal) -> str:
    """Without an exponent and without zeros that say nothing; zero has no sign."""
    if not number:
        return "0"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
