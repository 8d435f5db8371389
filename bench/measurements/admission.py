"""Which pictures memory keeps: hits under scans, after the hot set shifts and by Zipf's law, and what a get costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bench.harness.admission import CACHES, HOT_KEYS, mixed_hits, scanned_hits, shifted_hits
from bench.harness.figures import median_figure

if TYPE_CHECKING:
    from bench.harness.admission import Cache
    from bench.harness.figures import Figure, Run

MIXED: Final = "200,000 requests to 10,000 keys by Zipf 0.9, capacity 1,000; what is missed is put."
SCAN: Final = "50 hot keys at random, keys asked for once between them; share of the hot requests that hit, by seeds."
GET: Final = "One thread, in turns, processor time: gets of 50 hot keys that are there."


def measure(run: Run) -> list[Figure]:
    """Hit ratios of the memory tier's admission and what a get costs, beside other caches."""
    requests, seeds = run.pick(200_000, 20_000), run.pick(3, 1)
    figures: list[Figure] = []
    for name, make in CACHES.items():
        if name == "dict, unbounded":
            continue
        floor = 0.98 if name == "ours" else None
        rounds = [mixed_hits(make(1_000), requests, seed=seed) for seed in range(seeds)]
        at_least = 0.57 if name == "ours" and not run.is_quick else None
        figures.append(median_figure(rounds, what=f"{name}: mixed", unit="hits", how=MIXED, at_least=at_least))
        for capacity in (HOT_KEYS, 64):
            for once_each in (1, 4):
                title = f"{name}: {once_each}:1 scan, capacity {capacity}"
                rounds = [_scanned(make(capacity), run, once_each, seed) for seed in range(seeds)]
                figures.append(median_figure(rounds, what=title, unit="hits", how=SCAN, at_least=floor))
                title = f"{name}: shift, {once_each}:1, capacity {capacity}"
                rounds = [_shifted(make(capacity), run, once_each, seed) for seed in range(seeds)]
                figures.append(median_figure(rounds, what=title, unit="hits", how=SCAN, at_least=floor))
        run.say(name)
    return [*figures, *_costs(run)]


def _scanned(cache: Cache, run: Run, once_each: int, seed: int) -> float:
    return scanned_hits(cache, run.pick(20_000, 5_000), once_each=once_each, seed=seed)


def _shifted(cache: Cache, run: Run, once_each: int, seed: int) -> float:
    return shifted_hits(cache, run.pick(20_000, 5_000), once_each=once_each, seed=seed)


def _costs(run: Run) -> list[Figure]:
    keys = [f"{number:064}" for number in range(HOT_KEYS)]
    caches = {name: make(64) for name, make in CACHES.items()}
    for cache in caches.values():
        for key in keys:
            cache.put(key)
    seen: dict[str, list[float]] = {name: [] for name in caches}
    for _ in range(run.pick(15, 3)):
        for name, cache in caches.items():
            seen[name].append(_microseconds(cache, keys, run.pick(2_000, 200)))
    return [
        median_figure(seen[name], what=f"{name}: a get", unit="µs", how=GET, at_most=1 if name == "ours" else None)
        for name in caches
    ]


def _microseconds(cache: Cache, keys: list[str], rounds: int) -> float:
    get = cache.get
    began = time.process_time()
    for _ in range(rounds):
        for key in keys:
            get(key)
    return (time.process_time() - began) / (rounds * len(keys)) * 1e6
