"""Which provider makes each kind of picture, by the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from copperplate.compose.installed import check_installed
from copperplate.errors import Misconfigured
from copperplate.recipes.kinds import KINDS, PROCESSED
from copperplate.settings import PROVIDER_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from copperplate.adapters.fal.endpoints import Endpoint
    from copperplate.adapters.fal.over_queue import QueueOptions
    from copperplate.generation.kinds import Kind
    from copperplate.ports import Clock, ProcessingProvider, Provider
    from copperplate.processing_models import ProcessingModel
    from copperplate.recipes.kinds import KindSpec
    from copperplate.settings import Settings
    from copperplate.source_pictures import Operation


def make_provider(kind: str, settings: Settings, clock: Clock) -> Provider | None:
    """Who makes pictures of this kind: the provider in `COPPERPLATE_PROVIDER`, else the kind's own, else the painter.

    None where nobody does: a deployment never falls back to the painter, whose pictures are no substitute for what was
    asked. Raises `Misconfigured`, naming the variable to set.
    """
    spec = KINDS[kind]
    name = _choose(spec, settings)
    if name is None:
        return None
    variable = spec.model_variable or "COPPERPLATE_PROVIDER"
    model = None if spec.model_variable is None else settings.value_of(spec.model_variable)
    if spec.has_inputs and name not in PROCESSOR_MAKERS:
        return None
    makers = PROCESSOR_MAKERS if spec.has_inputs else MAKERS
    return makers[name](settings, clock, Model(variable, model))


def processing_models(kinds: Mapping[str, Kind]) -> Sequence[ProcessingModel]:
    """What can be done to pictures here: nothing where nobody processes them."""
    kind = kinds.get(PROCESSED.name)
    return () if kind is None else cast("ProcessingProvider", kind.provider).operations


def processing_prices(kinds: Mapping[str, Kind], settings: Settings) -> Mapping[Operation, int]:
    """What operations cost in credits: nothing where the provider is free, as no charge is made for it."""
    kind = kinds.get(PROCESSED.name)
    return settings.process_credits if kind is not None and kind.provider.is_billable else {}


def _choose(spec: KindSpec, settings: Settings) -> str | None:
    key, named = PROVIDER_KEYS[spec.provider], settings.provider
    has_key = key is None or settings.value_of(key) is not None
    if has_key and (named is None or (spec.keeps_its_provider and named != "painter")):
        return spec.provider
    is_deployed = settings.on_vercel or settings.supabase_url is not None
    return named or (None if is_deployed else "painter")


class Model(NamedTuple):
    """A model, and the variable that names it."""

    variable: str
    name: str | None


def _make_painter(settings: Settings, clock: Clock, _: Model) -> Provider:
    from copperplate.adapters.painter import Painter

    return Painter(clock=clock, seconds=settings.painter.total_seconds())


def _make_painter_processing(settings: Settings, clock: Clock, _: Model) -> ProcessingProvider:
    from copperplate.adapters.painter.processing import PainterProcessing

    return PainterProcessing(clock=clock, seconds=settings.painter.total_seconds())


def _make_fal(settings: Settings, clock: Clock, model: Model) -> Provider:
    options = _fal_options(settings, clock)
    from copperplate.adapters.fal import Fal
    from copperplate.recipes.image import DEFAULT_MODEL

    return Fal(model=model.name or DEFAULT_MODEL, variable=model.variable, **options)


def _fal_options(settings: Settings, clock: Clock) -> QueueOptions:
    """What both of fal's providers are told. Raises `Misconfigured` without a key, and where fal-client is missing."""
    if settings.fal_key is None:
        raise Misconfigured("COPPERPLATE_PROVIDER=fal needs FAL_KEY.")
    check_installed("fal_client", "fal")
    return {
        "key": settings.fal_key,
        "clock": clock,
        "queue_url": settings.fal_queue_url,
        "retention": settings.job_retention,
        "result_hosts": settings.result_hosts,
        "seconds": settings.provider_deadline.total_seconds(),
    }


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


def _make_fal_processing(settings: Settings, clock: Clock, _: Model) -> ProcessingProvider:
    options = _fal_options(settings, clock)
    from copperplate.adapters.fal.endpoints import ENDPOINTS
    from copperplate.adapters.fal.processing import FalProcessing

    return FalProcessing(
        endpoints=_chosen(settings.process_models, ENDPOINTS),
        rest_url=settings.fal_rest_url,
        acl=settings.fal_upload_acl,
        **options,
    )


def _chosen(names: Sequence[str] | None, endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of these names, in their order; all of them where none are named. Raises `Misconfigured`."""
    offered = {endpoint.model.name: endpoint for endpoint in endpoints}
    if unknown := [name for name in names or () if name not in offered]:
        raise Misconfigured(
            f"COPPERPLATE_PROCESS_MODELS: nobody here has {unknown[0][:80]!r}. Offered: {', '.join(offered)}."
        )
    return tuple(offered[name] for name in names or offered)


# A name that is not here is an error, and never the painter.
MAKERS: Final[Mapping[str, Callable[[Settings, Clock, Model], Provider]]] = {
    "painter": _make_painter,
    "fal": _make_fal,
    "openai": _make_openai,
}
# Who makes pictures from pictures; OpenAI does not.
PROCESSOR_MAKERS: Final[Mapping[str, Callable[[Settings, Clock, Model], ProcessingProvider]]] = {
    "painter": _make_painter_processing,
    "fal": _make_fal_processing,
}
