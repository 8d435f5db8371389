"""Whose fault a refusal is, by what the response says and who says it: the form of every provider's table. Pure."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.refusals import WITHHELD, without_secrets

if TYPE_CHECKING:
    import re
    from collections.abc import Container, Iterable, Sequence
    from datetime import timedelta

# Of a call that got no answer: what was raised, whether it may be billed, and what to say. The first class that fits.
ErrorRow = tuple[type[Exception], FailureClass, bool, str]
ANY: Final = range(300, 1_000)
CLIENT: Final = range(400, 500)
SERVER: Final = range(500, 600)


class Speaker(StrEnum):
    """Who answers: the service, in its own form, or something before it: a gateway, a proxy, a login page."""

    SERVICE = "service"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A refusal, reduced to what decides. `words` are its codes, types and parameters; `message` is for people."""

    status: int
    speaker: Speaker
    words: frozenset[str] = frozenset()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: what fits all that is given here is this failure.

    Words are compared whole, and `begins` with the beginning of a message: an answer may repeat the prompt, and
    no prompt may decide that our account is at fault. `says` is searched for anywhere in the message: for what
    harms nobody but the prompt that is repeated. `remedy` tells an operator what to mend. `of_model` is True where
    another model of the provider may be taken: only the one that was named rests. `of_input` is True where the picture
    to work on could not be loaded.
    """

    statuses: Container[int]
    failure_class: FailureClass
    name: str
    _: KW_ONLY
    speaker: Speaker | None = None
    words: frozenset[str] = frozenset()
    begins: re.Pattern[str] | None = None
    says: re.Pattern[str] | None = None
    billed: bool = False
    of_model: bool = False
    of_input: bool = False
    remedy: str = ""

    def fits(self, answer: Answer) -> bool:
        """Whether the answer is of this row."""
        if answer.status not in self.statuses or self.speaker not in (None, answer.speaker):
            return False
        if not (self.words or self.begins or self.says):
            return True
        begins = self.begins is not None and self.begins.match(answer.message) is not None
        says = self.says is not None and self.says.search(answer.message) is not None
        return begins or says or bool(self.words & answer.words)


def judge(table: Sequence[Row], answer: Answer) -> Row:
    """The first row that fits; the last row of a table fits everything."""
    return next(row for row in table if row.fits(answer))


def failure_without_answer(table: Sequence[ErrorRow], error: Exception, *, shown: BaseException) -> ProviderFailed:
    """The failure of a call that raised `error`; its message names the class of `shown`. Raises what no row fits."""
    for foreign, failure_class, billed, message in table:
        if isinstance(error, foreign):
            return ProviderFailed(failure_class, f"{message}: {type(shown).__name__}", billed=billed)
    raise error


def failure_of(
    row: Row, answer: Answer, *, detail: str, retry_after: timedelta | None, secrets: Iterable[str]
) -> ProviderFailed:
    """The failure of a row. Only where we are at fault are the service's words kept: an operator needs them.

    `secrets` appear in no message.
    """
    shown = without_secrets(detail, secrets)
    if row.failure_class is not FailureClass.ACCOUNT:
        message = f"{row.name}: {shown}"
        return ProviderFailed(row.failure_class, message, billed=row.billed, retry_after=retry_after)
    words = without_secrets(answer.message, secrets) if answer.speaker is Speaker.SERVICE else "(not in its own form)"
    failed = ProviderFailed(FailureClass.ACCOUNT, f"{row.name} ({shown}): {words} - {row.remedy}", billed=row.billed)
    failed.full_text = f"{detail} {answer.message}"
    failed.discreet = f"{row.name} ({answer.status}): {WITHHELD} - {row.remedy}"
    failed.of_model = row.of_model
    failed.of_input = row.of_input
    return failed
