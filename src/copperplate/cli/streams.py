"""The standard streams of a command: closed ones lead nowhere, and those that cannot be written end no command."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TextIO


class StreamFile(io.FileIO):
    """What a stream is written to; whatever else fails with `OSError` is so told from it.

    What cannot be written is dropped, and `error` says why. A reader that has gone raises `BrokenPipeError` as ever.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write it, or drop it; answers how many bytes are done with."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.error = error
            return memoryview(data).nbytes


def open_streams() -> StreamFile:
    """Open the standard streams anew; answers the file of the output. To be called before anything is printed.

    Python has None for streams that were closed before the start (`>&-`), and the next file or connection to be opened
    would get their number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            # Numbers are given from the lowest on: it is the stream's own, unless something else has that by now.
            os.set_inheritable(opened, opened == number)
            setattr(sys, name, os.fdopen(opened, "w" if number else "r", closefd=False))
    output = StreamFile(sys.stdout.fileno(), "w", closefd=False)
    sys.stdout = _as_text(output, sys.stdout)
    sys.stderr = _as_text(StreamFile(sys.stderr.fileno(), "w", closefd=False), sys.stderr)
    return output


def _as_text(file: StreamFile, like: TextIO) -> TextIO:
    """A stream with the encoding and the buffers of another, which are none under PYTHONUNBUFFERED."""
    is_unbuffered = isinstance(like.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        file if is_unbuffered else io.BufferedWriter(file),
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=bool(like.line_buffering),
        write_through=is_unbuffered,
    )


def end_streams(output: StreamFile) -> bool:
    """Write what was printed; answers whether nothing of the output was dropped, and says why if it was."""
    _end(sys.stdout)
    error = output.error
    _end(sys.stderr, f"copperplate: the output cannot be written: {error.strerror} [output_failed]\n" if error else "")
    return error is None


def _end(stream: TextIO, last: str = "") -> None:
    """Where its reader has gone, it goes nowhere: the interpreter would complain at its end."""
    try:
        if last:  # unbuffered, nothing is written, too, and fails
            stream.write(last)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
