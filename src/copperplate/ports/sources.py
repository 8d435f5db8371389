"""Where pictures lie that exist already: a folder, or the web."""

from __future__ import annotations

from typing import Protocol


class SourceRefused(Exception):
    """A picture cannot be had. The message is for whoever named it: no address, no password."""


class PictureSource(Protocol):
    """Pictures by name."""

    async def read(self, name: str) -> bytes:
        """The bytes of one picture, no more than a picture may have. Raises `SourceRefused`."""
