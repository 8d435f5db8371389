"""What a service says where it refuses us, as operators may read it: one line, no secret, no prompt. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_REASON: Final = 300
# What is shown is the beginning of what is said, and this much of it is compared with the prompt. A prompt has at
# most 1,000 code points.
MAX_TEXT: Final = 20_000
WITHHELD: Final = "(its words are withheld: they repeat the prompt)"
# So many letters of a prompt in a row are the prompt; an ideograph says as much as three letters.
RUN_LETTERS: Final = 12
_LETTERS_OF_WIDE: Final = 3

_ESCAPES: Final = re.compile(r"\\+(?:u([0-9a-f]{4})|x([0-9a-f]{2})|U([0-9a-f]{8})|([nrt]))", re.IGNORECASE)

# What keys look like, also where the service has hidden a part of one.
_SECRET = re.compile(
    r"\b(?:sk|sb|rk|pk)[-_][\w*.-]{4,}"
    r"|\beyJ[\w-]+\.[\w.-]+"
    r"|\b[0-9a-f]{8}-[0-9a-f-]{27}:[\w*]+"
    r"|\b(?:bearer|key)\s+(?=\S*\d)[\w*+/=:.-]{16,}"
    r"|[\w*-]*\*{3,}[\w*-]*"
    r"|\b(?=[a-z+=_]*\d)[a-z0-9+=_]{32,}",
    re.IGNORECASE,
)


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` in one line of at most 300 characters, with `secrets` and whatever looks like a key hidden."""
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 10 * MAX_REASON]).split())
    return _SECRET.sub("***", line)[:MAX_REASON]


def repeats_prompt(text: str, prompt: str) -> bool:
    """Whether `text` repeats 12 letters of `prompt` in a row, or all of a shorter one, however both are written.

    Compared are letters, digits and symbols alone: without case, spaces, punctuation, accents' composition and the
    escapes of HTML, URLs and JSON. Time is linear in both; of `text` 20,000 characters are looked at.
    """
    letters, prompt_letters = _letters(text[:MAX_TEXT]), _letters(prompt)
    runs = set(_runs(prompt_letters))
    if not runs:
        return bool(prompt_letters) and prompt_letters in letters
    return any(run in runs for run in _runs(letters))


def _letters(text: str) -> str:
    """What is left of a text where only what is said counts."""
    for _ in range(2):  # an escaped text may have been escaped once more
        text = _ESCAPES.sub(_unescaped, unquote(html.unescape(text)))
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(char for char in text if char.isalnum() or unicodedata.category(char) == "So")


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code is None:
        return " "
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else ""


def _runs(text: str) -> Iterator[str]:
    """The shortest run of `RUN_LETTERS` from each place on."""
    weights = [_LETTERS_OF_WIDE if unicodedata.east_asian_width(char) in "WF" else 1 for char in text]
    end = weight = 0
    for first, own in enumerate(weights):
        while weight < RUN_LETTERS:
            if end == len(text):
                return
            weight += weights[end]
            end += 1
        yield text[first:end]
        weight -= own
