"""The server keeps what its OpenAPI document promises: thousands of requests made from it by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from copperplate.http.routes.reference import METHODS
from tests.e2e.memory_server import CRON_SECRET, memory_server
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMATHESIS = Path(sys.executable).with_name("st")
EXAMPLES = 40  # per operation and phase
# A schema cannot say which models a server offers, nor that a text of spaces is none: both are answered 400.
UNSAID = "positive_data_acceptance"
# 504 is no fault of the server: a request for what is stored and nothing else finds nothing (RFC 9111, 5.2.1.7).
CONFIGURATION = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 504]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with memory_server(tmp_path_factory.mktemp("documented") / "log") as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def document(url: str) -> dict[str, Any]:
    made: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=30).json()
    return made


def test_every_answer_is_one_that_the_document_promises(url: str, document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    operations = sum(method in item for item in document["paths"].values() for method in METHODS)
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "run", f"{url}/openapi.json", "--phases", "examples,coverage,fuzzing", "--no-color"),
            *("--exclude-checks", UNSAID, "--max-examples", str(EXAMPLES), "--continue-on-failure"),
            *("--generation-deterministic", "--header", f"Authorization: Bearer {CRON_SECRET}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=min(wall(100), 280),  # below the limit of one test
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {operations}" in done.stdout
