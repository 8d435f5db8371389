"""The painter's stand-ins for models that process pictures: local, free, and no models at all.

They tell a background by the border's colour, interpolate, and sharpen the middle. The same picture and parameters
give the same pixels on every machine.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import ProviderResult
from copperplate.processing_models import SCALE, NumberParameter, ProcessingModel
from copperplate.recipes.processed import parameters_of
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue, InputPicture, Job, Size
    from copperplate.ports import Clock

TOLERANCE: Final = "tolerance"
STRENGTH: Final = "strength"
# By how much a channel may differ from the border's colour, of 255.
BACKGROUND: Final = ProcessingModel(
    name="copperplate/painter-background-1",
    operation=Operation.REMOVE_BACKGROUND,
    parameters=(NumberParameter(name=TOLERANCE, default=Decimal(32), least=Decimal(0), most=Decimal(128)),),
)
UPSCALE: Final = ProcessingModel(
    name="copperplate/painter-upscale-1",
    operation=Operation.UPSCALE,
    parameters=(NumberParameter(name=SCALE, default=Decimal(2), least=Decimal(1), most=Decimal(4), decimals=2),),
)
# How many times the difference to a blurred copy is added.
FACES: Final = ProcessingModel(
    name="copperplate/painter-faces-1",
    operation=Operation.FACE_DETAIL,
    parameters=(NumberParameter(name=STRENGTH, default=Decimal(1), least=Decimal("0.1"), most=Decimal(3), decimals=1),),
)


class PainterProcessing:
    """`ProcessingProvider` that works locally; answers PNG bytes, or after `seconds` if told to pretend.

    Pictures are processed one at a time, in a thread: what is held in memory is bounded by the largest one.
    """

    name = "painter"
    operations: Sequence[ProcessingModel] = (BACKGROUND, UPSCALE, FACES)
    models: tuple[str, ...] = tuple(model.name for model in operations)
    is_billable = False

    def __init__(self, clock: Clock, *, seconds: float = 0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._thread: ThreadPoolExecutor | None = None

    def settings(self, model: str) -> tuple[str, ...]:
        """Nothing is fixed beside the parameters: the model's name stands for the rest."""
        return ()

    def canvas(self, size: Size) -> Size:
        """Any size as it is asked."""
        return size

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        """Zero: it only costs this machine's time."""
        return 0

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        """Zero, whatever it reports."""
        return 0

    async def prepare(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture]) -> None:
        """Read them once, so that one that is not to be had is told of before anything is submitted."""
        for each in inputs:
            await each.read()

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> ProviderResult:
        """The finished picture as PNG. Raises `ProviderFailed` (invalid) where nothing would be to be seen in it."""
        if self._seconds > 0:
            await self._clock.sleep(self._seconds)
        source = await inputs[0].read()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="painter")
        values = dict(parameter.partition("=")[::2] for parameter in parameters_of(recipe))
        working = asyncio.get_running_loop().run_in_executor(
            self._thread, _process, Operation(str(recipe["operation"])), source.body, values
        )
        return ProviderResult(body=await working)

    async def collect(self, job: Job) -> ProviderResult:
        """Raises `ProviderFailed`: the painter has no jobs, so this one is somebody else's."""
        message = f"the painter has no jobs; {job.request_id} came from another provider"
        raise ProviderFailed(FailureClass.INVALID, message, billed=False)

    async def close(self) -> None:
        """Drop what has not begun; what has goes on by itself."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None


def _process(operation: Operation, body: bytes, values: Mapping[str, str]) -> bytes:
    # Imported here: a process that processes nothing never loads Pillow.
    from copperplate.adapters.painter.retouching import NothingToSee, process

    try:
        return process(operation, body, values)
    except NothingToSee as error:
        raise ProviderFailed(FailureClass.INVALID, str(error), billed=False) from None
