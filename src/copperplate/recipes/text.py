"""One spelling per text: what counts as the same prompt. SQL twin: `copperplate.fold_text`."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from copperplate.errors import InvalidText

MAX_CODE_POINTS: Final = 1_000
MAX_RAW_CODE_POINTS: Final = 20_000
# Composing costs the square of a run of combining marks (0.5 s for 20,000), so what cannot fit is
# refused before it: NFC never makes one code point of more than four.
_MAX_BEFORE_COMPOSING: Final = 4 * MAX_CODE_POINTS

# The only list of white space. Neither `str.split` nor `\s`: both follow the Unicode version of
# whoever runs them, and SQL would disagree. 25 code points.
WHITE_SPACE: Final = frozenset(
    map(chr, (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)))
) | frozenset("\u2028\u2029\u202f\u205f\u3000")

_RUN = re.compile("[" + "".join(sorted(WHITE_SPACE)) + "]+")
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def fold_text(text: str) -> str:
    """Reduce `text` to its one spelling: NFC, runs of white space as one space, trimmed.

    Letter case is kept. The answer has 1 to 1,000 code points. Raises `InvalidText` for surrogates,
    control characters other than white space, and texts that are empty or too long.
    """
    return fold_white_space(compose(text))


def compose(text: str) -> str:
    """Check that `text` is text of at most 20,000 code points, and put it into NFC.

    Raises `InvalidText`.
    """
    if len(text) > MAX_RAW_CODE_POINTS:
        raise InvalidText(_describe_length(len(text)))
    if len(text) > _MAX_BEFORE_COMPOSING:
        length = len(_RUN.sub(" ", text).strip(" "))
        if length > _MAX_BEFORE_COMPOSING:
            raise InvalidText(_describe_length(length))
    if (found := _NOT_TEXT.search(text)) is not None:
        raise InvalidText(_describe_bad_character(found.group()))
    return unicodedata.normalize("NFC", text)


def fold_white_space(text: str) -> str:
    """Fold the white space of a composed text; the answer has 1 to 1,000 code points.

    Raises `InvalidText` where it would not.
    """
    folded = _RUN.sub(" ", text).strip(" ")
    if not folded:
        message = "The text is empty. Describe the picture, as in ?text=A%20beautiful%20sunset"
        raise InvalidText(message)
    if len(folded) > MAX_CODE_POINTS:
        raise InvalidText(_describe_length(len(folded)))
    return folded


def _describe_length(code_points: int) -> str:
    return f"The text has {code_points:,} characters; shorten it to {MAX_CODE_POINTS:,}."


def _describe_bad_character(character: str) -> str:
    name = f"U+{ord(character):04X}"
    if "\ud800" <= character <= "\udfff":
        return f"The text holds half a character ({name}, a lone surrogate). Send it as UTF-8."
    return f"The text holds a control character ({name}). Remove it; spaces, tabs and line breaks are fine."
