"""What can be done to pictures here, so that a front end can build its forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.http.process_bodies import max_file_bytes
from copperplate.http.schemas import process as schemas
from copperplate.http.schemas.statistics import MICRO
from copperplate.processing.uploads import ENDINGS
from copperplate.processing_models import MAX_RESULT_PIXELS, ChoiceParameter, NumberParameter
from copperplate.recipes.processed import processed_recipe
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from copperplate.processing_models import Parameter, ProcessingModel
    from copperplate.services import Services


def operations_answer(services: Services) -> schemas.OperationsAnswer:
    """Operations with their models, and what is taken."""
    models = services.processing.models
    offered = [operation for operation in Operation if any(model.operation is operation for model in models)]
    return schemas.OperationsAnswer(
        success=True,
        operations=[_operation(services, operation) for operation in offered],
        limits=schemas.LimitsOut(
            max_file_bytes=max_file_bytes(on_vercel=services.settings.on_vercel),
            max_result_pixels=MAX_RESULT_PIXELS,
            media_types=list(ENDINGS),
            urls=services.settings.process_urls,
        ),
    )


def _operation(services: Services, operation: Operation) -> schemas.OperationOut:
    return schemas.OperationOut(
        operation=operation,
        result=operation.result_name,
        credits=services.processing.prices.get(operation, 0),
        models=[_model(services, model) for model in services.processing.models if model.operation is operation],
    )


def _model(services: Services, model: ProcessingModel) -> schemas.ModelOut:
    # Of no picture in particular: the stated worst case.
    most = services.price_of(processed_recipe("0" * 64, model, {}))
    return schemas.ModelOut(
        name=model.name,
        parameters=[_parameter(parameter) for parameter in model.parameters],
        most_usd=None if most is None else most / MICRO,
    )


def _parameter(parameter: Parameter) -> schemas.ParameterOut:
    match parameter:
        case NumberParameter():
            return schemas.ParameterOut(
                name=parameter.name,
                type="number",
                default=parameter.canonical_default,
                least=float(parameter.least),
                most=float(parameter.most),
                decimals=parameter.decimals,
            )
        case ChoiceParameter():
            return schemas.ParameterOut(
                name=parameter.name,
                type="choice",
                default=parameter.canonical_default,
                choices=list(parameter.choices),
            )
