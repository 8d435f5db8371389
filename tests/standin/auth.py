"""STAND-IN: Supabase Auth, as far as it publishes the keys that tokens are signed with."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PATH = "/auth/v1/.well-known/jwks.json"


class Auth:
    """A running server: `url` is the project's, `requests` are the paths it was asked for.

    `publish` says which keys it has; `answer` makes it say anything else. While `gate` is not set, answers
    stop after their headers.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._status, self._body, self._headers = 200, b'{"keys":[]}', {"content-type": "application/json"}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.issuer = f"{self.url}/auth/v1"

    def publish(self, *keys: object) -> None:
        """From now on these are the keys."""
        self.answer(json.dumps({"keys": keys}).encode())

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """From now on this is the answer."""
        self._status, self._body, self._headers = status, body, {"content-type": "application/json", **headers}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.close()

    def close(self) -> None:
        """Be down: refuse connections."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        auth = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                auth.requests.append(self.path)
                self.send_response(auth._status if self.path == PATH else 404)
                for name, value in auth._headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(auth._body)))
                self.end_headers()
                self.wfile.flush()
                auth.gate.wait(timeout=30)
                try:
                    self.wfile.write(auth._body)
                except OSError:  # whoever asked has had enough
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Not into the tests' output."""

        return Handler
