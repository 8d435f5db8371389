"""Leaders of processed pictures killed around the upload of their input: real processes, a real Postgres, fal's
stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standin.server import Standin
    from tests.support.worker_processes import WorkerProcesses

MODEL = "fal-ai/seedvr/upscale/image"


@pytest.mark.parametrize(
    ("point", "uploads", "submits"),
    [
        # Its address was known to the dead process alone. An upload costs nothing, and is gone within the hour.
        ("after:prepare", 2, 1),
        # fal has no key that makes a submit once: whoever follows cannot know that it was taken.
        ("after:submit", 2, 2),
        ("after:note_request", 1, 1),
    ],
)
def test_leader_that_dies_around_an_upload_is_followed_by_one_that_pays_for_nothing_twice_it_can_know_of(
    worker_processes: WorkerProcesses,
    owner_url: str,
    tmp_path: Path,
    standin: Standin,
    point: str,
    uploads: int,
    submits: int,
) -> None:
    order = {"url": owner_url, "folder": str(tmp_path), "fal_url": standin.url, "model": MODEL}
    doomed = worker_processes.start("process", stop_at=point, **order)
    assert doomed.hear() == f"at {point.partition(':')[2]}"
    doomed.kill()
    found = worker_processes.start("process", stop_at="", **order).result()
    assert found == {"outcome": "generated", "size": [128, 96]}
    assert len(standin.scenario_log.uploads) == uploads
    assert standin.scenario_log.posts[MODEL] == submits
