"""fal as a provider that processes pictures: endpoints as descriptions, inputs by address or uploaded once."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from copperplate import prices
from copperplate.adapters.fal.endpoints import ENDPOINTS
from copperplate.adapters.fal.hosts import QUEUE_URL, REST_URL
from copperplate.adapters.fal.over_queue import OverQueue
from copperplate.adapters.lazy_client import LazyClient
from copperplate.errors import InvalidRequest, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.processing_models import MAX_RESULT_PIXELS, scaled
from copperplate.recipes.processed import parameters_of
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Unpack

    from copperplate.adapters.fal.endpoints import Endpoint
    from copperplate.adapters.fal.over_queue import QueueOptions
    from copperplate.adapters.fal.uploads import Uploads
    from copperplate.model import CanonicalValue, InputPicture, Job, ProviderResult, Size
    from copperplate.processing_models import ProcessingModel

# An address is handed out for three quarters of the hour that it is good for: fal may take a quarter to load it.
ADDRESS_SECONDS: Final = timedelta(minutes=45).total_seconds()
MAX_REMEMBERED: Final = 1_000
# So many different inputs in a row that fal cannot load are no chance: a setting of ours is at fault.
MAX_NOT_LOADED: Final = 3
UPLOAD_SECONDS: Final = 60.0
T = TypeVar("T")


class _Known(NamedTuple):
    """Where fal can load an input, and when by both clocks we began to have it put there."""

    address: str
    monotonic: float
    wall: datetime


class FalProcessing(OverQueue):
    """`ProcessingProvider` over fal's queue, with these endpoints; the first of an operation is its default.

    `acl` is who may read an uploaded input beside our account: `forbid`, `hide` or `allow`.
    """

    def __init__(
        self,
        *,
        endpoints: Sequence[Endpoint] = ENDPOINTS,
        rest_url: str = REST_URL,
        acl: str = "forbid",
        upload_seconds: float = UPLOAD_SECONDS,
        **options: Unpack[QueueOptions],
    ) -> None:
        super().__init__(**options)
        self._endpoints = {endpoint.model.name: endpoint for endpoint in endpoints}
        self.operations: Sequence[ProcessingModel] = tuple(endpoint.model for endpoint in endpoints)
        self.models: tuple[str, ...] = tuple(self._endpoints)
        self._clock = options["clock"]
        self._uploads: LazyClient[Uploads] = LazyClient(
            "copperplate.adapters.fal.uploads",
            lambda module: module.Uploads(
                key=options["key"],
                clock=self._clock,
                queue_url=options.get("queue_url", QUEUE_URL),
                rest_url=rest_url,
                acl=acl,
                seconds=upload_seconds,
            ),
        )
        # By the digest of an input.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        # Digests of inputs that fal could not load: ever, to be uploaded from then on; and since it last loaded one.
        self._not_loaded: OrderedDict[str, None] = OrderedDict()
        self._not_loaded_in_a_row: set[str] = set()
        self._under_way: SingleFlight[str] = SingleFlight()
        # By the id of a job: the digest of its input.
        self._submitted: OrderedDict[str, str] = OrderedDict()

    def settings(self, model: str) -> tuple[str, ...]:
        """What of the fixed fields changes pixels."""
        return tuple(sorted(self._endpoints[model].model.settings))

    def canvas(self, size: Size) -> Size:
        """The size itself: the input and `scale` decide."""
        return size

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        """By the size of the result, of the largest that is taken where no input is given; else the stated most."""
        size = scaled(inputs[0].size, parameters_of(recipe)) if inputs else None
        px = MAX_RESULT_PIXELS if size is None else size.width * size.height
        endpoint = self._endpoint_of(recipe)
        return None if endpoint is None else prices.estimate_processing(endpoint.price, px)

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        """The billable units reported, at the endpoint's price for one."""
        endpoint = self._endpoint_of(recipe)
        return None if endpoint is None else prices.cost_of_processing(endpoint.price, usage)

    async def prepare(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture]) -> None:
        """Learn an address of the input that fal can load, or upload it; see `ProcessingProvider.prepare`."""
        self._require_endpoint(recipe)
        for picture in inputs:
            await self._locate(picture)

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> Job:
        """One POST to the queue; see `Provider.submit`."""
        (picture,) = inputs
        endpoint = self._require_endpoint(recipe)
        address = self._find(picture.digest) or await self._locate(picture)
        queue = await self._queue.get()
        job = await queue.submit(endpoint.model.name, endpoint.body_of(parameters_of(recipe), address))
        _remember(self._submitted, job.request_id, picture.digest)
        return job

    async def collect(self, job: Job) -> ProviderResult:
        """Wait for the job and fetch its picture; see `Provider.collect`."""
        digest = self._submitted.get(job.request_id, job.request_id)
        try:
            result = await super().collect(job)
        except ProviderFailed as failed:
            # Whatever it was: the next submit has another address.
            self._known.pop(digest, None)
            raise self._blamed(failed, digest) from failed
        self._not_loaded_in_a_row.clear()
        return result

    async def close(self) -> None:
        """Close the connections."""
        await self._under_way.drain(within_seconds=0)
        await super().close()
        await self._uploads.close()

    def _blamed(self, failed: ProviderFailed, digest: str) -> ProviderFailed:
        """The failure itself, or of this input alone: that fal could not load one says nothing of the others."""
        if not failed.of_input:
            return failed
        _remember(self._not_loaded, digest, None)
        self._not_loaded_in_a_row.add(digest)
        if len(self._not_loaded_in_a_row) >= MAX_NOT_LOADED:
            self._not_loaded_in_a_row.clear()
            return failed
        return ProviderFailed(FailureClass.TRANSIENT, str(failed), billed=failed.billed)

    def _require_endpoint(self, recipe: Mapping[str, CanonicalValue]) -> Endpoint:
        """Raises `ProviderFailed` for a model that was offered when the picture was promised, and is not any more."""
        endpoint = self._endpoint_of(recipe)
        if endpoint is None:
            message = f"COPPERPLATE_PROCESS_MODELS does not name {recipe['model']} any more."
            failed = ProviderFailed(FailureClass.ACCOUNT, message, billed=False)
            # The others are used on.
            failed.of_model = True
            raise failed
        return endpoint

    def _endpoint_of(self, recipe: Mapping[str, CanonicalValue]) -> Endpoint | None:
        return self._endpoints.get(str(recipe["model"]))

    async def _locate(self, picture: InputPicture) -> str:
        """An address that fal can load for a while: the picture's own, or that of an upload, made once."""
        # Asked each time: asking also notes who brought the picture.
        own = await picture.address()
        uploads = await self._uploads.get()
        if own is not None and picture.digest not in self._not_loaded and uploads.addresses.can_load(own):
            self._know(picture.digest, own, since=self._now())
            return own
        while (known := self._find(picture.digest)) is None:
            is_joined = picture.digest in self._under_way
            try:
                return (await self._under_way.run(picture.digest, lambda: self._upload(uploads, picture)))[0]
            except InvalidRequest:
                # Its bytes may be here for us, and not for whoever began.
                if not is_joined:
                    raise
        return known

    def _find(self, digest: str) -> str | None:
        if (known := self._known.get(digest)) is None:
            return None
        monotonic, wall = self._now()
        # One clock may stand still while a function is frozen, the other may be set back.
        age = max(monotonic - known.monotonic, (wall - known.wall).total_seconds())
        return known.address if age < ADDRESS_SECONDS else None

    def _know(self, digest: str, address: str, *, since: tuple[float, datetime]) -> None:
        _remember(self._known, digest, _Known(address, *since))

    def _now(self) -> tuple[float, datetime]:
        return self._clock.monotonic(), self._clock.now()

    async def _upload(self, uploads: Uploads, picture: InputPicture) -> str:
        clean = await picture.read()
        since = self._now()
        address = await uploads.put(clean)
        self._know(picture.digest, address, since=since)
        return address


def _remember(table: OrderedDict[str, T], name: str, value: T) -> None:
    """Note a value, and forget the oldest of too many."""
    table[name] = value
    table.move_to_end(name)
    if len(table) > MAX_REMEMBERED:
        table.popitem(last=False)
