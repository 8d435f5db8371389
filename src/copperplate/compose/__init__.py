"""The only place that wires adapters to the core."""

from copperplate.compose.backends import cdns_of, check, make_cdn_purges, open_backend
from copperplate.compose.identity import make_verifier
from copperplate.compose.providers import make_provider
from copperplate.compose.services import assemble, make_images, open_services
from copperplate.compose.tiers import open_redis_copies

__all__ = [
    "assemble",
    "cdns_of",
    "check",
    "make_cdn_purges",
    "make_images",
    "make_provider",
    "make_verifier",
    "open_backend",
    "open_redis_copies",
    "open_services",
]
