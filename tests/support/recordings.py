"""Where answers of the real services may lie: in `COPPERPLATE_RECORDINGS`, or beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

BESIDE = Path(__file__).parents[3] / "shared" / "recordings"
RECORDINGS = Path(os.environ.get("COPPERPLATE_RECORDINGS") or BESIDE)
