"""A STAND-IN of the part of Vercel's API that purges its CDN, over a real socket."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a token of Vercel's"


class VercelApi:
    """STAND-IN: takes purges as Vercel's API documents them, refuses a wrong token, counts."""

    def __init__(self) -> None:
        self.purges: list[dict[str, Any]] = []
        self.status = 200
        self.seconds = 0.0
        self.url = ""

    @property
    def tags(self) -> list[list[str]]:
        """Those of each call."""
        return [asked["tags"] for asked in self.purges]


@contextmanager
def vercel_api() -> Iterator[VercelApi]:
    """The API, while the block runs."""
    standin = VercelApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = standin.status if self.headers["authorization"] == f"Bearer {TOKEN}" else 403
            if not 1 <= len(body["tags"]) <= 16 or not parse_qs(asked.query).get("projectIdOrName"):
                status = 400
            if status == 200:
                standin.purges.append({"path": asked.path, **parse_qs(asked.query), **body})
            time.sleep(standin.seconds)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    standin.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
