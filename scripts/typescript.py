"""TypeScript that people copy: formatted, and compiled by stricter options than most projects have.

Loud words where npm is not installed; then `.ci/run` has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from scripts import npm

if TYPE_CHECKING:
    from pathlib import Path

CLIENT: Final = tuple(sorted((npm.ROOT / "client").glob("*.ts")))
OPTIONS: Final = (
    *("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noImplicitOverride"),
    *("--noImplicitReturns", "--noUnusedLocals", "--noUnusedParameters", "--verbatimModuleSyntax", "--isolatedModules"),
    *("--target", "es2022", "--lib", "es2022,dom", "--module", "esnext", "--moduleResolution", "bundler"),
)
APP: Final = tuple(sorted(path for kind in ("ts", "tsx", "css") for path in (npm.NEXTJS / "app").glob(f"*.{kind}")))
REQUIRE_ALL: Final = "COPPERPLATE_REQUIRE_ALL"


def commands(tests: Path, example: Path) -> list[tuple[str | Path, ...]]:
    """What has to succeed, with the `node_modules` of the tests and of the example."""
    prettier = (tests / ".bin" / "prettier", "--log-level=warn", "--check", "--print-width=120")
    return [
        (*prettier, *CLIENT, *APP, npm.NEXTJS / "next.config.ts"),
        (tests / ".bin" / "tsc", "--noEmit", *OPTIONS, *CLIENT),
        (example / ".bin" / "tsc", "--noEmit", "--incremental", "false", "--project", npm.NEXTJS),
    ]


def main() -> int:
    """1 where something is to be mended."""
    try:
        modules = (npm.install(), npm.install(npm.NEXTJS))
    except npm.NotInstallable as error:
        print(f"!!! NOT RUN prettier, tsc: {error}", file=sys.stderr)
        return int(bool(os.environ.get(REQUIRE_ALL)))
    return max(subprocess.run(command, check=False).returncode for command in commands(*modules)) and 1


if __name__ == "__main__":
    sys.exit(main())
