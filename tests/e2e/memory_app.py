"""The application over memory, for servers that tests start."""

from __future__ import annotations

from copperplate.http.app import create_app
from memory_services import memory_services

app = create_app(services=memory_services())
