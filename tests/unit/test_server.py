"""Sockets of server processes."""

from __future__ import annotations

import pytest

from copperplate.errors import Misconfigured
from copperplate.http.server import run as server
from copperplate.settings import Settings


def test_port_is_taken_from_the_moment_it_is_bound() -> None:
    with server.bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"Port {port}"):
            server.bind("127.0.0.1", port)


def test_port_of_a_server_that_has_ended_can_be_taken_at_once() -> None:
    with server.bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    server.bind("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("told", "verbose", "ours", "lines"),
    [
        ("", False, "INFO", "WARNING"),
        ("", True, "INFO", "INFO"),
        ("info", False, "INFO", "INFO"),
        ("INFO", False, "INFO", "INFO"),
        ("Debug", False, "DEBUG", "DEBUG"),
        ("debug", True, "DEBUG", "DEBUG"),
        ("warning", False, "WARNING", "WARNING"),
        ("error", True, "ERROR", "INFO"),
    ],
)
def test_levels_are_those_that_are_set_and_verbose_shows_requests(
    told: str, ours: str, lines: str, *, verbose: bool
) -> None:
    levels = server.levels(Settings.from_env({"COPPERPLATE_LOG_LEVEL": told}), verbose=verbose)
    assert levels == {"copperplate": {"level": ours}, **{name: {"level": lines} for name in server.LINES}}
