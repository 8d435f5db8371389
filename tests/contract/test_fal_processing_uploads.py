"""Uploads to fal that go wrong, against the STAND-IN: another way is taken, or it is said whose fault it is."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from copperplate.failure_classes import FailureClass
from tests.support.processing_harness import Brought, failure_of, made, processing_at, submits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.fal.processing import FalProcessing
    from tests.standin.server import Standin

BRIA = "fal-ai/bria/background/remove"
KEPT = {"expiration_duration_seconds": 3_600, "initial_acl": {"default": "forbid"}}


@pytest.fixture
async def fal(standin: Standin) -> AsyncIterator[FalProcessing]:
    fal = processing_at(standin.url)
    yield fal
    await fal.close()


@pytest.mark.parametrize(
    ("stage", "scenario"),
    [
        ("storage:token", "http_500"),
        ("storage:token", "drop"),
        ("storage:token", "not_json"),
        ("storage:token", "base=https://files.example.com"),
        ("storage:cdn", "http_503"),
        ("storage:cdn", "http_401"),
        ("storage:cdn", "http_413"),
        ("storage:cdn", "drop"),
        ("storage:cdn", "not_json"),
        ("storage:cdn", "at=https://files.example.com/a.png"),
    ],
)
async def test_upload_that_the_cdn_does_not_take_goes_through_the_storage_service(
    stage: str, scenario: str, fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell(stage, scenario)
    brought = Brought()
    assert (await made(fal, brought, BRIA)).size == (64, 48)
    kept = [upload for upload in standin.scenario_log.uploads if upload.way == "storage"]
    assert [(upload.body, upload.lifecycle, upload.name) for upload in kept] == [(brought.body, KEPT, "input.png")]
    assert submits(standin) == 1


@pytest.mark.parametrize(
    ("stage", "scenario"),
    [
        ("storage:initiate", "http_500"),
        ("storage:initiate", "drop"),
        ("storage:initiate", "not_json"),
        ("storage:initiate", "to=https://files.example.com/put"),
        ("storage:initiate", "to=http://169.254.169.254/latest"),
        ("storage:put", "http_403"),
        ("storage:put", "drop"),
    ],
)
async def test_upload_that_nobody_takes_costs_nothing_and_submits_nothing(
    stage: str, scenario: str, fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:cdn", "http_503")
    standin.scenario_log.tell(stage, scenario)
    failed = await failure_of(fal, Brought(), BRIA)
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    assert "secret" not in str(failed)
    assert submits(standin) == 0


@pytest.mark.parametrize(("stage", "name"), [("storage:token", "base"), ("storage:initiate", "to")])
async def test_neither_input_nor_token_goes_to_another_port_of_this_machine(
    stage: str, name: str, fal: FalProcessing, standin: Standin
) -> None:
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        elsewhere.setblocking(False)
        standin.scenario_log.tell("storage:cdn", "http_503")
        standin.scenario_log.tell(stage, f"{name}=http://127.0.0.1:{elsewhere.getsockname()[1]}")
        if stage == "storage:token":
            standin.scenario_log.tell("storage:initiate", "http_503")
        assert (await failure_of(fal, Brought(), BRIA)).failure_class is FailureClass.TRANSIENT
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


@pytest.mark.parametrize(
    ("scenario", "failure_class", "told"),
    [
        ("http_401", FailureClass.ACCOUNT, "check FAL_KEY"),
        ("http_403", FailureClass.ACCOUNT, "rights of FAL_KEY"),
        ("http_429=7", FailureClass.RATE_LIMITED, "rate"),
    ],
)
async def test_refused_upload_says_whose_fault_it_is_and_is_not_tried_another_way(
    scenario: str, failure_class: FailureClass, told: str, fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:token", scenario)
    failed = await failure_of(fal, Brought(), BRIA)
    assert (failed.failure_class, failed.billed) == (failure_class, False)
    assert told in str(failed)
    assert (submits(standin), len(standin.scenario_log.uploads)) == (0, 0)


@pytest.mark.parametrize("stage", ["storage:token", "storage:cdn"])
async def test_upload_ends_after_its_time(stage: str, standin: Standin) -> None:
    fal = processing_at(standin.url, upload_seconds=0.3)
    standin.scenario_log.tell(stage, "held")
    failed = await failure_of(fal, Brought(), BRIA)
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    assert submits(standin) == 0
    standin.scenario_log.release()
    await fal.close()


async def test_address_of_an_input_is_in_no_log_line_of_ours_and_in_no_message(
    fal: FalProcessing, standin: Standin, caplog: pytest.LogCaptureFixture
) -> None:
    standin.scenario_log.tell("storage:file", "http_404")
    with caplog.at_level("DEBUG", logger="copperplate"):
        failed = await failure_of(fal, Brought(), BRIA)
    assert "input.png" not in str(failed) + caplog.text
    assert "storage.example.com" not in str(failed) + failed.discreet
    assert "(an address)" in str(failed)
