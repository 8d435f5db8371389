"""Known vulnerabilities of what we install: `pip-audit` and `npm audit`, and loud words where nobody could be asked.

What is shipped must have none. What only tests use, from npm, must have no critical one. A service that
cannot be reached is no fault of the tree: that is said, and a release is not made on it (docs/release.md).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.npm import FOLDER, NEXTJS, ROOT

SECONDS = 120


@dataclass
class Report:
    """What one service said. `not_run` is why it was not asked, or not about everything."""

    faults: list[str] = field(default_factory=list)
    not_run: str = ""


def read_pip(output: str) -> Report:
    """What `pip-audit --format json` said. It ends with 0 even where it found no package to ask about."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        return Report(not_run="the service of advisories did not answer")
    faults = [
        f"{each['name']} {each['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'no version'}"
        for each in packages
        for found in each.get("vulns", ())
    ]
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if not unknown:
        return Report(faults)
    those = "any package" if len(unknown) == len(packages) else ", ".join(unknown)
    return Report(faults, f"the service of advisories knows nothing of {those}")


def read_npm(output: str) -> Report:
    """What `npm audit --json` said; only the critical is a fault."""
    try:
        packages: dict[str, dict[str, Any]] = json.loads(output)["vulnerabilities"]
    except (ValueError, KeyError):
        return Report(not_run="the service of advisories did not answer")
    return Report([f"{name} {each['range']}" for name, each in packages.items() if each["severity"] == "critical"])


def audit_pip() -> Report:
    """Everything an installation can bring, at the versions of the lock file."""
    exported = subprocess.run(
        [
            ROOT / ".tools/bin/uv",
            "export",
            *["--frozen", "--quiet", "--no-default-groups", "--extra", "all", "--no-emit-project"],
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    command: list[Any] = [Path(sys.executable).with_name("pip-audit"), "--requirement", "/dev/stdin", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "20"]
    return read_pip(_ask(command, exported.stdout))


def audit_npm(folder: Path = FOLDER) -> Report:
    """What tests, or an example, take from npm."""
    npm = shutil.which("npm")
    return read_npm(_ask([npm, "audit", "--json"], folder=folder)) if npm else Report(not_run="npm is not installed")


def _ask(command: list[Any], given: str = "", *, folder: Path = ROOT) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, input=given, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def main() -> int:
    """1 where something is to be mended."""
    reports = {"pip-audit": audit_pip(), "npm audit": audit_npm(), "npm audit of the example": audit_npm(NEXTJS)}
    for name, report in reports.items():
        for fault in report.faults:
            print(f"{name}: {fault}", file=sys.stderr)
        if report.not_run:
            print(f"!!! NOT RUN {name}: {report.not_run}", file=sys.stderr)
        elif not report.faults:
            print(f"{name}: nothing known")
    return int(any(report.faults for report in reports.values()))


if __name__ == "__main__":
    sys.exit(main())
