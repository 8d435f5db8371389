"""Where a real Supabase Storage is, for those who have one: the project's address and its secret key."""

from __future__ import annotations

import os
from typing import Final

URL: Final = "COPPERPLATE_TEST_STORAGE_URL"
KEY: Final = "COPPERPLATE_TEST_STORAGE_KEY"


def is_named() -> bool:
    """Whether both are set."""
    return bool(os.environ.get(URL) and os.environ.get(KEY))
