"""Sides of a painting, known without loading what paints."""

from typing import Final

MIN_SIDE_PX: Final = 16
DEFAULT_SIDE_PX: Final = 1024
