"""Picture files that a command reads, and the files that it writes results to."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from copperplate.adapters.picture_sources import Folder
from copperplate.model import PictureFormat
from copperplate.ports.sources import SourceRefused
from copperplate.processing.bulk import OutputExists, OutputNotWritten
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# What is taken of a folder; HEIC, so that it is told what to do about it.
ENDINGS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".heic", ".heif"})
# What a provider may answer.
_RESULTS: Final = (PictureFormat.JPG, PictureFormat.PNG, PictureFormat.WEBP)


class FaultyFiles(ValueError):
    """What was named cannot be processed as it is; nothing was spent."""


def gather(named: Sequence[str]) -> list[str]:
    """The files that were named, and the pictures of the folders, each once. Raises `FaultyFiles`."""
    found = dict.fromkeys(path for name in named for path in _files_of(Path(name)))
    if not found:
        raise FaultyFiles("there is no picture in what was named")
    return [str(path) for path in found]


def _files_of(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        if not place.exists():
            raise FaultyFiles(f"there is no file {shown(str(place))}")
        yield place
        return
    for path in sorted(place.iterdir()):
        if path.suffix.lower() in ENDINGS and path.is_file() and not _is_result(path):
            yield path


def _is_result(path: Path) -> bool:
    """Whether it is called like one of ours: a folder is processed again without what was made of it."""
    return Path(path.stem).suffix.removeprefix(".") in set(Operation)


def shown(name: str) -> str:
    """A name for the terminal: what would control it is spelled out."""
    return name if name.isprintable() else ascii(name)


class Files:
    """`PictureSource` of files by their paths, wherever they lie."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def read(self, name: str) -> bytes:
        """See `PictureSource.read`."""
        place = await asyncio.to_thread(os.path.realpath, name)
        folder, _, file = place.rpartition(os.sep)
        if not await asyncio.to_thread(os.path.exists, place):
            raise SourceRefused("the file is not there any more")
        return await Folder(Path(folder or os.sep), self._max_bytes).read(file)


class ResultFiles:
    """`Results` beside what they are made of, or in one folder: `<name>.<operation>.<ending>`.

    The ending of what it was made of stays in the name where two would be called the same without it.
    """

    def __init__(self, operation: Operation, folder: Path | None, *, may_replace: bool) -> None:
        self._operation = operation
        self._folder = folder
        self._may_replace = may_replace
        self._alike: frozenset[str] = frozenset()

    def name_all(self, names: Sequence[str]) -> None:
        """Give every result a name of its own. Raises `FaultyFiles` where two would have one all the same."""
        if self._folder is not None and self._folder.exists() and not self._folder.is_dir():
            raise FaultyFiles(f"--output is no folder: {shown(str(self._folder))}")
        self._alike = frozenset(name for group in self._by_place(names) if len(group) > 1 for name in group)
        for one, other, *_ in (group for group in self._by_place(names) if len(group) > 1):
            both = f"{shown(one)} and {shown(other)}"
            raise FaultyFiles(f"the results of {both} would have one name: process them with two folders as --output")

    def _by_place(self, names: Sequence[str]) -> Iterable[Sequence[str]]:
        places: dict[Path, list[str]] = {}
        for name in dict.fromkeys(names):
            places.setdefault(self._place(name, PictureFormat.PNG).resolve(), []).append(name)
        return places.values()

    async def digests(self, name: str) -> Mapping[PictureFormat, str]:
        """See `Results.digests`."""
        return await asyncio.to_thread(self._digests, name)

    async def write(self, name: str, body: bytes, form: PictureFormat) -> None:
        """See `Results.write`."""
        try:
            await asyncio.to_thread(self._write, self._place(name, form), body)
        except FileExistsError:
            raise OutputExists(
                "Another file of that name was written meanwhile: --force replaces it, --output writes elsewhere."
            ) from None
        except OSError as error:
            raise OutputNotWritten(f"The result cannot be written: {error.strerror}.") from None

    def _place(self, name: str, form: PictureFormat) -> Path:
        path = Path(name)
        own = path.name if name in self._alike else path.stem
        return (self._folder or path.parent) / f"{own}.{self._operation}.{form}"

    def _digests(self, name: str) -> Mapping[PictureFormat, str]:
        digests = {}
        for form in _RESULTS:
            place = self._place(name, form)
            if os.path.lexists(place):
                digests[form] = _digest_of(place)
        return digests

    def _write(self, place: Path, body: bytes) -> None:
        """Beside its place first: it is there whole, or not at all."""
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".copperplate-") as folder:
            whole = Path(folder, secrets.token_hex(4))
            whole.write_bytes(body)
            if self._may_replace:
                whole.replace(place)
            elif _digest_of(place) != hashlib.sha256(body).hexdigest():  # two runs at once write the same
                os.link(whole, place)  # it fails where there is something, whoever wrote it meanwhile


def _digest_of(place: Path) -> str:
    """Of what is no readable file: none."""
    if not place.is_file():
        return ""
    try:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
