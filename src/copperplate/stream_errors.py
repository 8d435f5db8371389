"""Errors of streams.

CopperplateError
├── Forbidden
│   └── InvalidEventToken     the token in the address does not permit to watch this; 403
├── TooManyStreams            the process holds as many streams as it may; 503
└── TooManyStreamsOfAddress   this address follows as many streams as one may; 429
"""

from __future__ import annotations

from copperplate.denials import Forbidden
from copperplate.errors import CopperplateError


class InvalidEventToken(Forbidden, code="invalid_event_token", title="The token of this stream is not valid"):
    """The token in the address of a stream does not permit to watch this, or does so no more."""


class TooManyStreams(CopperplateError, code="too_many_streams", status=503, title="Too many streams are followed here"):
    """This process holds as many streams as it may."""

    retry_after_seconds = 5

    def __init__(self) -> None:
        super().__init__("Ask for the status instead, or for the stream again after Retry-After.")


class TooManyStreamsOfAddress(
    CopperplateError, code="too_many_streams_of_address", status=429, title="Too many streams from one address"
):
    """This address follows as many streams of this process as one address may."""

    retry_after_seconds = 5

    def __init__(self, most: int) -> None:
        super().__init__(f"One address may follow {most} streams at once. Close one, or ask for the status instead.")
