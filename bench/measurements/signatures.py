"""What judging a signed URL costs a miss, beside the bare HMAC that no scheme can do without."""

from __future__ import annotations

import hmac
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bench.harness.figures import median_figure, ratios
from copperplate.access.signatures import SigningKey, SigningKeys, Verdict, sign, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.harness.figures import Figure, Run

KEYS: Final = SigningKeys(tuple(SigningKey(key_id=key_id, secret=key_id[0] * 64) for key_id in ("2026-11", "old")))
GENERATION: Final = "3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3"
NOW: Final = datetime(2026, 11, 30, tzinfo=UTC)
LATER: Final = NOW + timedelta(days=30)
HOW: Final = (
    "One thread, in turns, processor time: a valid signature by the second of two keys, 64 characters of secret each."
)


def measure(run: Run) -> list[Figure]:
    """Microseconds for one check of a signature, valid and forged, and for signing, beside one bare HMAC."""
    calls, rounds = run.pick(20_000, 2_000), run.pick(15, 3)
    signature = sign(GENERATION, KEYS.keys[1], LATER)
    forged = replace(signature, signature="A" * 43)
    secret, message = (
        KEYS.keys[1].secret.encode(),
        f"copperplate-url-v1\nold\n{signature.expires}\n{GENERATION}".encode(),
    )
    assert verify(signature, GENERATION, keys=KEYS, now=NOW).verdict is Verdict.VALID
    assert verify(forged, GENERATION, keys=KEYS, now=NOW).verdict is Verdict.FORGED
    subjects: dict[str, Callable[[], object]] = {
        "check": lambda: verify(signature, GENERATION, keys=KEYS, now=NOW),
        "check of a forgery": lambda: verify(forged, GENERATION, keys=KEYS, now=NOW),
        "signing": lambda: sign(GENERATION, KEYS.keys[1], LATER),
        "bare hmac.digest": lambda: hmac.digest(secret, message, "sha256"),
    }
    seen: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            seen[name].append(_microseconds(subject, calls))
    figures = [
        median_figure(seen[name], what=name, unit="µs", how=HOW, at_most=30 if name.startswith("check") else None)
        for name in subjects
    ]
    ratio = ratios(seen["check"], seen["bare hmac.digest"])
    return [*figures, median_figure(ratio, what="check to bare hmac.digest", unit="ratio", how=HOW)]


def _microseconds(subject: Callable[[], object], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        subject()
    return (time.process_time() - began) / calls * 1e6
