"""What the services of advisories say, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts import audit

CLEAN = {"name": "httpx", "version": "1.0", "vulns": []}
FAULTY = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "starlette", "skip_reason": "Dependency not found on PyPI"}


def pip(*packages: dict[str, Any]) -> audit.Report:
    return audit.read_pip(json.dumps({"dependencies": packages, "fixes": []}))


def test_a_vulnerability_of_a_package_is_named_with_its_mend() -> None:
    assert pip(CLEAN, FAULTY).faults == ["pillow 1.0: PYSEC-1, mended in 1.1"]


def test_no_vulnerability_is_no_fault() -> None:
    assert pip(CLEAN) == audit.Report()


def test_packages_nobody_knows_were_not_audited() -> None:
    assert pip(UNKNOWN, UNKNOWN).not_run.endswith("any package")
    assert pip(CLEAN, UNKNOWN).not_run.endswith("starlette")


@pytest.mark.parametrize("read", [audit.read_pip, audit.read_npm])
@pytest.mark.parametrize("output", ["", "Traceback …", '{"message": "405 Method Not Allowed"}'])
def test_a_service_that_does_not_answer_was_not_asked(read: Any, output: str) -> None:
    assert read(output) == audit.Report(not_run="the service of advisories did not answer")


@pytest.mark.parametrize(("severity", "faults"), [("critical", ["tar <7"]), ("high", [])])
def test_a_tool_of_the_tests_may_have_what_is_not_critical(severity: str, faults: list[str]) -> None:
    told = {"vulnerabilities": {"tar": {"range": "<7", "severity": severity}}}
    assert audit.read_npm(json.dumps(told)).faults == faults


@pytest.mark.parametrize("require_all", ["", "1"], ids=["", "everything required"])
@pytest.mark.parametrize(("report", "status"), [(audit.Report(["a fault"]), 1), (audit.Report(not_run="offline"), 0)])
def test_only_a_fault_stops_a_check(
    report: audit.Report,
    status: int,
    require_all: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COPPERPLATE_REQUIRE_ALL", require_all)
    monkeypatch.setattr(audit, "audit_pip", lambda: report)
    monkeypatch.setattr(audit, "audit_npm", lambda *_: audit.Report())
    assert audit.main() == status
    assert ("NOT RUN pip-audit: offline" in capsys.readouterr().err) is bool(report.not_run)
