"""fal's endpoints that process pictures, as descriptions: another one is another entry of `ENDPOINTS`.

Prices are in `copperplate.prices`. An answer is read as `image` or `images`, whichever the endpoint has: whoever
collects the job of a dead predecessor knows its id, and not which endpoint it was of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from copperplate.prices import PROCESSING_PRICES
from copperplate.processing_models import SCALE, ChoiceParameter, NumberParameter, ProcessingModel
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.prices import ProcessingPrice

SCHEMAS: Final = "type declarations of npm @fal-ai/client 1.10.1"
READ_ON: Final = date(2026, 11, 30)
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})
_SWITCH: Final[Mapping[str, Any]] = MappingProxyType({"yes": True, "no": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyField:
    """Where a parameter goes in the body, and what its words are there; without words it is a number."""

    name: str
    words: Mapping[str, Any] = field(default_factory=lambda: _NONE)

    def value_of(self, text: str) -> Any:
        """The value in JSON of a canonical one."""
        if self.words:
            return self.words[text]
        number = Decimal(text)
        return int(number) if number == int(number) else float(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint: what it offers, what it costs, and how it is asked. `model.name` is its id.

    `fields` says of every parameter of the model where it goes; `fixed` is sent always. What of that changes pixels is
    in `model.settings`, and so in the key. `schema` and `read_on` say where its fields were read, and when.
    """

    model: ProcessingModel
    price: ProcessingPrice
    input_field: str = "image_url"
    fields: Mapping[str, BodyField] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMAS
    read_on: date = READ_ON

    def body_of(self, parameters: tuple[str, ...], address: str) -> dict[str, Any]:
        """The JSON body of the submit, for canonical parameters and the address of the input."""
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        asked = {of.name: of.value_of(given[name]) for name, of in self.fields.items() if name in given}
        return {self.input_field: address, **self.fixed, **asked}


def number(name: str, default: str, least: str, most: str, decimals: int = 0) -> NumberParameter:
    """A parameter that is a number, by its spelling."""
    return NumberParameter(
        name=name, default=Decimal(default), least=Decimal(least), most=Decimal(most), decimals=decimals
    )


def switch(name: str, default: str) -> ChoiceParameter:
    """A parameter that is `yes` or `no`."""
    return ChoiceParameter(name=name, default=default, choices=("yes", "no"))


_BIREFNET_VARIANTS: Final = {
    "light": "General Use (Light)",
    "light-2k": "General Use (Light 2K)",
    "heavy": "General Use (Heavy)",
    "matting": "Matting",
    "portrait": "Portrait",
    "dynamic": "General Use (Dynamic)",
}
# 2304x2304 is left out: of all variants only Dynamic takes it.
_BIREFNET_RESOLUTIONS: Final = {"1024": "1024x1024", "2048": "2048x2048"}
_ESRGAN_VARIANTS: Final = {
    "x4plus": "RealESRGAN_x4plus",
    "x2plus": "RealESRGAN_x2plus",
    "x4plus-anime": "RealESRGAN_x4plus_anime_6B",
    "x4-v3": "RealESRGAN_x4_v3",
    "x4-wdn-v3": "RealESRGAN_x4_wdn_v3",
    "x4-anime-v3": "RealESRGAN_x4_anime_v3",
}

BIREFNET: Final = Endpoint(
    model=ProcessingModel(
        name="fal-ai/birefnet/v2",
        operation=Operation.REMOVE_BACKGROUND,
        parameters=(
            ChoiceParameter(name="variant", default="light", choices=tuple(_BIREFNET_VARIANTS)),
            ChoiceParameter(name="resolution", default="1024", choices=tuple(_BIREFNET_RESOLUTIONS)),
            switch("refine", "yes"),
        ),
    ),
    price=PROCESSING_PRICES["fal-ai/birefnet/v2"],
    fields={
        "variant": BodyField(name="model", words=_BIREFNET_VARIANTS),
        "resolution": BodyField(name="operating_resolution", words=_BIREFNET_RESOLUTIONS),
        "refine": BodyField(name="refine_foreground", words=_SWITCH),
    },
    # Lossless, so it changes no pixel.
    fixed={"output_format": "png"},
)
BRIA: Final = Endpoint(
    model=ProcessingModel(name="fal-ai/bria/background/remove", operation=Operation.REMOVE_BACKGROUND),
    price=PROCESSING_PRICES["fal-ai/bria/background/remove"],
)
SEEDVR: Final = Endpoint(
    model=ProcessingModel(
        name="fal-ai/seedvr/upscale/image",
        operation=Operation.UPSCALE,
        parameters=(number(SCALE, "2", "1", "10", 2), number("noise", "0.1", "0", "1", 2)),
        # A result that is lost and made anew has the same pixels.
        settings=("seed=1",),
    ),
    price=PROCESSING_PRICES["fal-ai/seedvr/upscale/image"],
    fields={SCALE: BodyField(name="upscale_factor"), "noise": BodyField(name="noise_scale")},
    fixed={"upscale_mode": "factor", "output_format": "png", "seed": 1},
)
ESRGAN: Final = Endpoint(
    model=ProcessingModel(
        name="fal-ai/esrgan",
        operation=Operation.UPSCALE,
        parameters=(
            number(SCALE, "2", "1", "8", 2),
            ChoiceParameter(name="variant", default="x4plus", choices=tuple(_ESRGAN_VARIANTS)),
            switch("face", "no"),
        ),
    ),
    price=PROCESSING_PRICES["fal-ai/esrgan"],
    fields={
        SCALE: BodyField(name="scale"),
        "variant": BodyField(name="model", words=_ESRGAN_VARIANTS),
        "face": BodyField(name="face", words=_SWITCH),
    },
    fixed={"output_format": "png"},
)
CODEFORMER: Final = Endpoint(
    model=ProcessingModel(
        name="fal-ai/codeformer",
        operation=Operation.FACE_DETAIL,
        parameters=(
            # Quality at 0, likeness at 1.
            number("fidelity", "0.5", "0", "1", 2),
            # Its own default is 2: face detail alone enlarges nothing.
            number(SCALE, "1", "1", "4", 2),
            switch("upscale-face", "yes"),
            switch("center-only", "no"),
        ),
        settings=("seed=1",),
    ),
    price=PROCESSING_PRICES["fal-ai/codeformer"],
    fields={
        "fidelity": BodyField(name="fidelity"),
        SCALE: BodyField(name="upscale_factor"),
        "upscale-face": BodyField(name="face_upscale", words=_SWITCH),
        "center-only": BodyField(name="only_center_face", words=_SWITCH),
    },
    fixed={"seed": 1},
)
# The first of an operation is its default.
ENDPOINTS: Final = (BIREFNET, BRIA, SEEDVR, ESRGAN, CODEFORMER)
