"""The only place that wires adapters to the core."""

from copperplate.compose.backends import check, open_backend, open_cdns
from copperplate.compose.identity import make_verifier
from copperplate.compose.providers import make_provider
from copperplate.compose.services import assemble, make_images, open_services

__all__ = [
    "assemble",
    "check",
    "make_images",
    "make_provider",
    "make_verifier",
    "open_backend",
    "open_cdns",
    "open_services",
]
