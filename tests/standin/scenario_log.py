"""STAND-IN: what it was asked, what it answered, what that would have cost, and what shall go wrong."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.standin.bill import charge

if TYPE_CHECKING:
    from tests.standin.fal_storage import Upload

_IN_PROMPT = re.compile(r"\[([a-z0-9_]+)(?:=([-0-9.a-z_]+))?\]")


@dataclass(frozen=True)
class Scenario:
    """One thing to do wrong; `value` is its number or word, such as seconds."""

    name: str = "ok"
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Scenario:
        name, _, value = text.partition("=")
        return cls(name, value)

    def is_(self, *names: str) -> bool:
        return self.name in names


@dataclass
class Drawing:
    """One picture that was asked for and taken on."""

    number: int
    id: str
    provider: str
    prompt: str
    width: int
    height: int
    scenario: Scenario
    model: str
    usage: dict[str, int]
    is_billed: bool
    begun: float = field(default_factory=time.monotonic)
    polls: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    # What was made of a picture; None of what is drawn by a prompt.
    made: bytes | None = field(default=None, repr=False)
    # Whether its result has `image`, and not `images`.
    is_alone: bool = False

    def acts(self, stage: str) -> Scenario:
        """What goes wrong now at a stage: `<stage>_<fault>_first=<n>` does so for its first n requests alone."""
        name, is_glitch = self.scenario.name.removesuffix("_first"), self.scenario.name.endswith("_first")
        if not is_glitch:
            return self.scenario
        self.asked[stage] += 1
        is_due = name.startswith(f"{stage}_") and self.asked[stage] <= int(self.scenario.value or 1)
        return Scenario(name) if is_due else Scenario()

    @property
    def billed_units(self) -> str:
        """What fal's answer says: what it counted, or with `units=<number>` whatever it is told to say."""
        return self.scenario.value if self.scenario.is_("units") else str(next(iter(self.usage.values())))

    @property
    def charge_micro_usd(self) -> int:
        if self.scenario.is_("units"):
            return round(float(self.scenario.value) * charge(self.model, dict.fromkeys(self.usage, 1)))
        return charge(self.model, self.usage) if self.is_billed else 0


class ScenarioLog:
    """Everything the stand-in remembers."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.clear()

    def clear(self) -> None:
        self.release()
        self.released = threading.Event()
        self.numbers = itertools.count(1)
        self.posts: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.drawings: dict[str, Drawing] = {}
        self.told: dict[str, list[Scenario]] = {}
        self.cancelled: list[str] = []
        self.uploads: list[Upload] = []
        # Status, body (an object: JSON; text: a page) and headers of every answer to a POST, where one is given.
        self.canned: tuple[int, object, dict[str, str]] | None = None

    def tell(self, prompt: str, *scenarios: str) -> None:
        """From now on do this for `prompt` (`*`: for every one), one per POST; the last one stays."""
        self.told[prompt] = [Scenario.parse(each) for each in scenarios]

    def release(self) -> None:
        """Let the answers go that the scenario `held` holds, those to come as well."""
        self.released.set()

    def next_scenario(self, prompt: str) -> Scenario:
        queue = self.told.get(prompt) or self.told.get("*")
        if queue:
            return queue.pop(0) if len(queue) > 1 else queue[0]
        if found := _IN_PROMPT.search(prompt):
            return Scenario(found[1], found[2] or "")
        return Scenario()

    def note(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> None:
        masked = {name: "masked" if name == "authorization" else value for name, value in headers.items()}
        self.requests.append({"at": time.monotonic(), "method": method, "path": path, "headers": masked, "body": body})

    def begin(self, **of_drawing: Any) -> Drawing:
        """Take a picture on, with everything a `Drawing` has but a number and an id."""
        number = next(self.numbers)
        drawing = Drawing(number=number, id=f"standin-{number:06d}", **of_drawing)
        self.drawings[drawing.id] = drawing
        return drawing

    def bill(self) -> dict[str, dict[str, int]]:
        """By provider, the units of what is billed and `micro_usd`; what is billed says `standin.bill`."""
        bill: dict[str, Counter[str]] = {}
        for drawing in tuple(self.drawings.values()):
            sums = bill.setdefault(drawing.provider, Counter(micro_usd=0))
            if drawing.is_billed:
                sums.update(drawing.usage)
                sums["micro_usd"] += drawing.charge_micro_usd
        return {provider: dict(sums) for provider, sums in bill.items()}

    def report(self) -> dict[str, Any]:
        """What `GET /control` answers."""
        return {
            "stand_in": True,
            "posts": dict(self.posts),
            "pictures": len(self.drawings),
            "uploads": len(self.uploads),
            "bill": self.bill(),
            "cancelled": self.cancelled,
            "requests": self.requests[-200:],
        }
