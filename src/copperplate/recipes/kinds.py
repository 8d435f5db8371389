"""The kinds of picture: their rules, who makes them, and how their recipes are read.

A new kind is an entry here, a row of `copperplate.kinds` (a test holds the two equal) and a recipe; wiring, serving,
cleanup, metrics and statistics by kind go over `KINDS`. Answers that are promised of one kind name it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.model import MAX_PICTURE_BYTES, Needs, PictureFormat
from copperplate.recipes import provider_input
from copperplate.recipes.processed import KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.model import CanonicalValue
    from copperplate.recipes.provider_input import ProviderInput


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSpec:
    """What a kind of picture is; what is a column of `copperplate.kinds` has its name."""

    name: str
    # What messages call several of them.
    plural: str
    bucket: str
    is_public: bool
    # Whether a generation is told of to nobody but who asked for it.
    is_private: bool = False
    # Whether people are shown the original itself; else they are shown its renditions.
    is_own_original: bool
    # Whether its original is kept as the provider made it; else it is made a png of the size asked for.
    is_kept_as_made: bool = False
    # Whether it is made from other pictures (`PictureRequest.inputs`), by providers of their own.
    has_inputs: bool = False
    # Of one object.
    max_bytes: int
    # An entry may be removed once it is this old.
    retention: timedelta
    # With so many uses it stays, however old; None: it stays while its last use is younger than `retention`.
    min_uses: int | None = None
    # With more uses than that it is archived, which no cleanup removes; None: never.
    archive_above: int | None = None
    # What its store has to do, whatever the picture's size.
    needs: Needs = field(default_factory=Needs)
    # How many times as long as for other pictures callers wait.
    wait_factor: int = 1
    # The provider that makes it where its key is set.
    provider: str
    # Whether that one does so although `COPPERPLATE_PROVIDER` names another that needs a key.
    keeps_its_provider: bool = False
    # The setting that names the provider's model; None: the provider's own default.
    model_variable: str | None = None
    # Whether a deployment starts where nobody makes it.
    is_optional: bool = True
    read: Callable[[Mapping[str, CanonicalValue]], ProviderInput]

    @property
    def count_name(self) -> str:
        """The member of answers and logs that counts them."""
        return self.plural.replace(" ", "_")

    @property
    def ages_from_last_use(self) -> bool:
        """Whether `retention` runs from the last use, and not from when it was made."""
        return self.min_uses is None


IMAGE: Final = KindSpec(
    name="image",
    plural="images",
    bucket="generated-images",
    is_public=True,
    is_own_original=False,
    max_bytes=MAX_PICTURE_BYTES,
    retention=timedelta(days=30),
    provider="fal",
    model_variable="COPPERPLATE_IMAGE_MODEL",
    is_optional=False,
    read=provider_input.of_image,
)
# A PNG that is handed out as an address.
MEMOJI: Final = KindSpec(
    name="memoji",
    plural="memoji",
    bucket="memoji-images",
    is_public=True,
    is_private=True,
    is_own_original=True,
    max_bytes=5 * 1024 * 1024,
    retention=timedelta(days=90),
    min_uses=2,
    archive_above=100,
    needs=Needs(media_types=frozenset({PictureFormat.PNG.media_type}), address=True),
    # OpenAI takes half a minute at high quality, and two when it is busy.
    wait_factor=4,
    provider="openai",
    keeps_its_provider=True,
    model_variable="COPPERPLATE_MEMOJI_MODEL",
    read=provider_input.of_memoji,
)
# What comes of a picture that somebody brought, for those alone who had its bytes.
PROCESSED: Final = KindSpec(
    name=KIND,
    plural="processed pictures",
    bucket="processed-images",
    is_public=False,
    is_private=True,
    is_own_original=True,
    is_kept_as_made=True,
    has_inputs=True,
    max_bytes=MAX_PICTURE_BYTES,
    retention=timedelta(days=30),
    # Upscaling takes a minute where a model is cold.
    wait_factor=2,
    provider="fal",
    keeps_its_provider=True,
    read=provider_input.of_processed,
)
KINDS: Final[Mapping[str, KindSpec]] = {spec.name: spec for spec in (IMAGE, MEMOJI, PROCESSED)}
BUCKETS: Final[Mapping[str, KindSpec]] = {spec.bucket: spec for spec in KINDS.values()}


def provider_input_of(recipe: Mapping[str, CanonicalValue]) -> ProviderInput:
    """What a canonical recipe asks of a provider. Raises `ValueError` for an unknown kind."""
    spec = KINDS.get(str(recipe["kind"]))
    if spec is None:
        message = f"nobody draws a {recipe['kind']}"
        raise ValueError(message)
    return spec.read(recipe)
