"""Chance that is the same everywhere: a stream of integers drawn from a hash."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Chance:
    """Integers from SHA-256 of a seed and a counter; no state of Python's own generators, no floats."""

    def __init__(self, seed: bytes) -> None:
        self._seed = hashlib.sha256(seed).digest()
        self._counter = 0
        self._pool = b""

    def below(self, bound: int) -> int:
        """A whole number from 0 to `bound` - 1 (0 where `bound` is less than 1)."""
        if len(self._pool) < 4:
            self._counter += 1
            self._pool = hashlib.sha256(self._seed + self._counter.to_bytes(8, "big")).digest()
        drawn, self._pool = int.from_bytes(self._pool[:4], "big"), self._pool[4:]
        return drawn % max(1, bound)

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`."""
        return choices[self.below(len(choices))]

    def happens(self, percent: int) -> bool:
        """True in `percent` of a hundred draws."""
        return self.below(100) < percent

    def contour(self, count: int, periods: Sequence[int], *, is_smooth: bool) -> list[int]:
        """`count` heights from 0 to 1024: noise of several wavelengths, each half as strong as the one before.

        `periods` are wavelengths in points. Smooth for hills, straight pieces for rock.
        """
        total = [0] * count
        for octave, period in enumerate(periods):
            wave = self._wave(count, max(1, period), is_smooth=is_smooth)
            total = [height + (value >> octave) for height, value in zip(total, wave, strict=True)]
        low, high = min(total), max(total)
        return [(height - low) * 1024 // max(1, high - low) for height in total]

    def _wave(self, count: int, period: int, *, is_smooth: bool) -> list[int]:
        phase = self.below(period)
        knots = [self.below(1025) for _ in range((count + phase) // period + 2)]
        parts = [rest * 1024 // period for rest in range(period)]
        if is_smooth:
            parts = [(part * part * (3072 - 2 * part)) >> 20 for part in parts]
        wave = [low + ((high - low) * part >> 10) for low, high in itertools.pairwise(knots) for part in parts]
        return wave[phase : phase + count]
