"""`client/sign.ts`, compiled by the tests' TypeScript and run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts import npm

# An address, the setting, the models of a deployment, and when the signature expires.
Call = tuple[str, str, dict[str, Any], str | None]
SOURCE: Final = Path(__file__).parents[2] / "client" / "sign.ts"
# Stricter than most projects that it is copied into: what passes here passes there.
OPTIONS: Final = (
    *("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noImplicitOverride"),
    *("--noImplicitReturns", "--noUnusedLocals", "--noUnusedParameters", "--verbatimModuleSyntax", "--isolatedModules"),
    *("--target", "es2022", "--lib", "es2022,dom", "--module", "esnext", "--moduleResolution", "bundler"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypescriptSigner:
    """The compiled module."""

    module: Path

    def sign(self, *calls: Call) -> list[dict[str, str | None]]:
        """The signed `url` and the `key`, or the `refusal`, of each call."""
        asked = json.dumps({"module": str(self.module), "calls": calls})
        script = npm.FOLDER / "sign_urls.mjs"
        done = subprocess.run(["node", script], input=asked, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        answers: list[dict[str, str | None]] = json.loads(done.stdout)
        return answers


def compile_signer(folder: Path) -> TypescriptSigner:
    """Check types and compile into a folder; raises `npm.NotInstallable` where there is no node, or no TypeScript."""
    if shutil.which("node") is None:
        raise npm.NotInstallable("node is not installed")
    (folder / "types").mkdir()  # not those of the tests' own packages
    (folder / "package.json").write_text('{"type": "module"}')
    places = ("--outDir", folder, "--typeRoots", folder / "types")
    command = (npm.install() / ".bin" / "tsc", *OPTIONS, *places, SOURCE)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return TypescriptSigner(module=folder / "sign.js")
