"""Which providers make pictures and memoji, by the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from copperplate.compose.installed import check_installed
from copperplate.errors import Misconfigured
from copperplate.recipes.kinds import IMAGE, MEMOJI

if TYPE_CHECKING:
    from copperplate.ports import Clock, Provider
    from copperplate.settings import Settings


def make_provider(kind: str, settings: Settings, clock: Clock) -> Provider | None:
    """Who makes pictures of this kind; None where nobody does. Raises `Misconfigured`, naming the variable to set."""
    return MAKERS[kind](settings, clock)


def make_image_provider(settings: Settings, clock: Clock) -> Provider:
    """The provider of pictures: the one in `COPPERPLATE_PROVIDER`, else fal where its key is set, else the painter.

    A deployment never falls back to the painter: its pictures are no substitute for what was asked.
    Raises `Misconfigured`, naming the variable to set.
    """
    name = settings.provider or ("fal" if settings.fal_key else "painter")
    if _is_fallback_refused(name, settings):
        raise Misconfigured("Nobody makes pictures: set FAL_KEY, or name a provider in COPPERPLATE_PROVIDER.")
    return _make_provider(name, settings, clock, Model("COPPERPLATE_IMAGE_MODEL", settings.image_model))


def make_memoji_provider(settings: Settings, clock: Clock) -> Provider | None:
    """The provider of memoji: OpenAI where its key is set, unless `COPPERPLATE_PROVIDER` is the painter; else that one.

    None where there is none: a deployment never falls back to the painter. Raises `Misconfigured`.
    """
    name = settings.provider or "painter"
    if settings.openai_api_key is not None and settings.provider != "painter":
        name = "openai"
    if _is_fallback_refused(name, settings):
        return None
    return _make_provider(name, settings, clock, Model("COPPERPLATE_MEMOJI_MODEL", settings.memoji_model))


MAKERS = {IMAGE.name: make_image_provider, MEMOJI.name: make_memoji_provider}


def _is_fallback_refused(name: str, settings: Settings) -> bool:
    is_deployed = settings.on_vercel or settings.supabase_url is not None
    return is_deployed and name == "painter" and settings.provider is None


class Model(NamedTuple):
    """A model, and the variable that names it."""

    variable: str
    name: str | None


def _make_provider(name: str, settings: Settings, clock: Clock, model: Model) -> Provider:
    if name == "fal":
        return _make_fal(settings, clock, model)
    if name == "openai":
        return _make_openai(settings, clock, model)
    from copperplate.adapters.painter import Painter

    return Painter(clock=clock, seconds=settings.painter.total_seconds())


def _make_fal(settings: Settings, clock: Clock, model: Model) -> Provider:
    if settings.fal_key is None:
        raise Misconfigured("COPPERPLATE_PROVIDER=fal needs FAL_KEY.")
    check_installed("fal_client", "fal")
    from copperplate.adapters.fal import Fal
    from copperplate.recipes.image import DEFAULT_MODEL

    return Fal(
        key=settings.fal_key,
        clock=clock,
        model=model.name or DEFAULT_MODEL,
        variable=model.variable,
        queue_url=settings.fal_queue_url,
        retention=settings.job_retention,
        result_hosts=settings.result_hosts,
        seconds=settings.provider_deadline.total_seconds(),
    )


def _make_openai(settings: Settings, clock: Clock, model: Model) -> Provider:
    if settings.openai_api_key is None:
        raise Misconfigured("COPPERPLATE_PROVIDER=openai needs OPENAI_API_KEY.")
    check_installed("openai", "openai")
    from copperplate.adapters.openai import DEFAULT_MODEL, OpenAIImages

    return OpenAIImages(
        key=settings.openai_api_key,
        clock=clock,
        model=model.name or DEFAULT_MODEL,
        variable=model.variable,
        base_url=settings.openai_base_url,
        seconds=settings.provider_deadline.total_seconds(),
    )
