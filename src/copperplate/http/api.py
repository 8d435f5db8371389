"""What several addresses of the API have in common, each in one place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Between two looks at what is not final.
RETRY_SECONDS: Final = 2
# Members of one answer, or of one event.
PAGE: Final = 100
# In the one spelling that is handed out.
BATCH_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def preflight(methods: str, *sent: str) -> Mapping[str, str]:
    """The headers of the answer to OPTIONS: any origin may ask by these methods, and send these headers.

    Keys and tokens are no cookies, which a browser would add by itself.
    """
    return {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": f"{methods}, OPTIONS",
        # "*" does not cover Authorization.
        "access-control-allow-headers": ", ".join(sorted(("authorization", *sent))),
        "access-control-max-age": "86400",
    }
