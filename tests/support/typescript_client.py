"""`client/*.ts`, compiled by the tests' TypeScript and run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from scripts import npm

# An address, the setting, the models of a deployment, and when the signature expires.
Call = tuple[str, str, dict[str, Any], str | None]
SOURCES: Final = sorted((Path(__file__).parents[2] / "client").glob("*.ts"))
# Stricter than most projects that it is copied into: what passes here passes there.
OPTIONS: Final = (
    *("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noImplicitOverride"),
    *("--noImplicitReturns", "--noUnusedLocals", "--noUnusedParameters", "--verbatimModuleSyntax", "--isolatedModules"),
    *("--target", "es2022", "--lib", "es2022,dom", "--module", "esnext", "--moduleResolution", "bundler"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypescriptClient:
    """A folder with the compiled modules."""

    folder: Path

    def sign(self, *calls: Call) -> list[dict[str, str | None]]:
        """The signed `url` and the `key`, or the `refusal`, of each call of sign.ts."""
        answers: list[dict[str, str | None]] = self._run("sign_urls.mjs", calls)
        return answers

    def build(self, *calls: tuple[Any, ...]) -> list[dict[str, Any]]:
        """The `answer`, or the name of the `error`, of each call: a function of the other modules and its arguments."""
        answers: list[dict[str, Any]] = self._run("build_pictures.mjs", calls)
        return answers

    def _run(self, script: str, calls: tuple[Any, ...]) -> Any:
        asked = json.dumps({"folder": str(self.folder), "calls": calls})
        command = ("node", str(npm.FOLDER / script))
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> TypescriptClient:
    """The modules for servers and pages that run JavaScript."""
    try:
        return compile_client(tmp_path_factory.mktemp("client"))
    except npm.NotInstallable as error:
        pytest.skip(f"no TypeScript: {error}")


def compile_client(folder: Path) -> TypescriptClient:
    """Check types and compile into a folder; raises `npm.NotInstallable` where there is no node, or no TypeScript."""
    if shutil.which("node") is None:
        raise npm.NotInstallable("node is not installed")
    (folder / "types").mkdir()  # not those of the tests' own packages
    (folder / "package.json").write_text('{"type": "module"}')
    places = ("--outDir", str(folder), "--typeRoots", str(folder / "types"))
    command = (str(npm.install() / ".bin" / "tsc"), *OPTIONS, *places, *map(str, SOURCES))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return TypescriptClient(folder=folder)
