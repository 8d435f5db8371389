"""Every log line of the suite, scanned for prompts and secrets: no test has to ask for it.

Lines are those of loggers in this process and of the servers that tests start. What must not be in them is noted where
it comes by: prompts of every `PictureRequest`, secrets of every `Settings`, every signature of a URL, every API key
that is made, the texts that servers are asked for.
"""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from copperplate.access.api_keys import CHECK_CHARS, SECRET_CHARS, MadeKey
from copperplate.model import PictureRequest
from copperplate.recipes.url import UrlSignature
from copperplate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Shorter ones are words of log lines too.
LEAST_CHARS = 6
lines: list[str] = []
private: set[str] = set()
seen = 0


def note(text: object) -> None:
    """From now on, until the test ends, no log line may hold this, or any text in it."""
    if isinstance(text, tuple):
        for each in text:
            note(each)
    elif isinstance(text, str) and len(text) >= LEAST_CHARS:
        private.add(text)


def note_url(path: str) -> None:
    """The texts that an address asks for."""
    query = parse_qs(urlsplit(path).query, errors="replace")
    for text in (*query.get("text", ()), *query.get("prompt", ())):
        note(text.strip())


def read(text: str) -> None:
    """Lines that a server of this test has logged."""
    lines.extend(text.splitlines())


def leaks() -> list[str]:
    """The lines that say too much."""
    return [line for line in lines if any(each in line for each in private)]


class _Collector(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # As a server would write it, with the traceback.
        lines.append(logging.Formatter("%(name)s %(message)s").format(record))


def pytest_configure() -> None:
    """Listen to everything."""
    logging.getLogger().addHandler(_Collector(logging.DEBUG))
    logging.getLogger("copperplate").setLevel(logging.DEBUG)
    # As where nobody asked for them; servers of end-to-end tests write them.
    logging.getLogger("copperplate.requests").setLevel(logging.WARNING)
    init, sign, check = PictureRequest.__init__, UrlSignature.__init__, Settings.__post_init__
    make = MadeKey.__init__

    def noted(picture_request: PictureRequest, *args: Any, **values: Any) -> None:
        init(picture_request, *args, **values)
        note(picture_request.recipe.get("prompt"))

    def made(key: MadeKey, *args: Any, **values: Any) -> None:
        make(key, *args, **values)
        note(key.text[-SECRET_CHARS - CHECK_CHARS :])

    def signed(made: UrlSignature, *args: Any, **values: Any) -> None:
        sign(made, *args, **values)
        note(made.signature)

    def checked(settings: Settings) -> None:
        for each in fields(settings):
            if each.metadata.get("is_secret"):
                note(getattr(settings, each.name))
        check(settings)

    PictureRequest.__init__ = noted  # type: ignore[method-assign, assignment]
    MadeKey.__init__ = made  # type: ignore[method-assign, assignment]
    UrlSignature.__init__ = signed  # type: ignore[method-assign, assignment]
    Settings.__post_init__ = checked  # type: ignore[method-assign, assignment]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """After the fixtures, whose servers log until they end."""
    global seen  # noqa: PLW0603 - one suite, one count
    yield
    found = leaks()
    seen += len(lines)
    lines.clear()
    private.clear()
    assert not found, "a log line holds a prompt or a secret:\n" + "\n".join(found)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands its count to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["log_lines"] = seen


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what the workers saw."""
    global seen  # noqa: PLW0603 - one suite, one count
    seen += getattr(node, "workeroutput", {}).get("log_lines", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """So that nobody believes in a watch that sees nothing."""
    terminalreporter.line(f"log lines scanned for prompts and secrets: {seen}")
