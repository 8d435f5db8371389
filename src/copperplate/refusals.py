"""What a service says where it refuses us, as operators may read it: one line, no secret, no prompt. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REASON: Final = 300
WITHHELD: Final = "(its words are withheld: they repeat the prompt)"
# So many words of a prompt in a row are the prompt.
WORDS_IN_A_ROW: Final = 3

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
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return _SECRET.sub("***", line)[:MAX_REASON]


def without_prompt(text: str, prompt: str) -> str:
    """`text`, or what stands for it where it repeats three words of `prompt` in a row, or all of a shorter one."""
    words, line = prompt.casefold().split(), " ".join(text.casefold().split())
    span = min(len(words), WORDS_IN_A_ROW)
    rows = (" ".join(words[first : first + span]) for first in range(len(words) - span + 1))
    # The plain search comes first: a prompt has hundreds of rows, and hardly any is in the line.
    is_repeated = any(row in line and re.search(rf"(?<!\w){re.escape(row)}(?!\w)", line) for row in rows if row)
    return WITHHELD if is_repeated else text
