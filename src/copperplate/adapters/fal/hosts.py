"""fal's own addresses."""

from __future__ import annotations

from typing import Final

QUEUE_URL: Final = "https://queue.fal.run"
REST_URL: Final = "https://rest.fal.ai"
