"""Whose fault a refusal is: every row of both tables, over the real adapters and sockets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.blame import judge
from copperplate.adapters.fal import faults
from copperplate.adapters.openai.faults import REFUSALS as OF_OPENAI
from copperplate.errors import GenerationFailed, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.standin.answers import NGINX
from tests.support.provider_harness import KEY, provider_at, recipe_of, request_of

if TYPE_CHECKING:
    from tests.standin.server import Standin
    from tests.support.provider_harness import OpenHarness

ACCOUNT, MODERATED, INVALID = FailureClass.ACCOUNT, FailureClass.MODERATED, FailureClass.INVALID
LIMITED, TRANSIENT, BAD = FailureClass.RATE_LIMITED, FailureClass.TRANSIENT, FailureClass.BAD_OUTPUT
PAGE = NGINX.format("no")


@dataclass(frozen=True)
class Case:
    """An answer, and whose fault it is. `shown` is what an operator must be able to read."""

    provider: str
    status: int
    body: object
    failure_class: FailureClass
    shown: str = ""
    billed: bool = False
    headers: dict[str, str] = field(default_factory=dict, hash=False)


def openai(message: str, kind: str | None = None, code: object = None, param: str | None = None) -> object:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def fal(detail: object, **more: str) -> object:
    return {"detail": detail, **more}


def entry(kind: str, name: str = "prompt") -> list[object]:
    return [{"loc": ["body", name], "msg": "not so", "type": kind, "input": "a secret wish"}]


BAD_REQUEST, USER_ERROR = "invalid_request_error", "image_generation_user_error"
SAFETY = "Your request was rejected as a result of our safety system. Your prompt may contain text that is not allowed."
HARD_LIMIT = "Billing hard limit has been reached"
QUOTA = "You exceeded your current quota, please check your plan and billing details."
VERIFY = "Your organization must be verified to use the model `gpt-image-2`. Please go to: https://platform.openai.com/"
LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."

# Made from real answers, in recordings and in public issues; none names a prompt.
CASES = [
    # OpenAI: our account
    Case("openai", 400, openai(HARD_LIMIT, BAD_REQUEST, "billing_hard_limit_reached"), ACCOUNT, HARD_LIMIT),
    Case("openai", 400, openai("No more", BAD_REQUEST, "billing_hard_limit_reached"), ACCOUNT, "No more"),
    Case("openai", 400, openai(HARD_LIMIT, USER_ERROR), ACCOUNT, "add money"),
    Case("openai", 429, openai(QUOTA, "insufficient_quota", "insufficient_quota"), ACCOUNT, "your current quota"),
    Case("openai", 429, openai("Your account is not active.", "billing_not_active"), ACCOUNT, "not active"),
    Case("openai", 403, openai("no quota", "new_api_error", "insufficient_user_quota"), ACCOUNT, "no quota"),
    Case("openai", 402, openai("Payment required"), ACCOUNT, "Payment required"),
    Case("openai", 401, openai("The OpenAI account associated with this API key has been deactivated.", BAD_REQUEST,
         "account_deactivated"), ACCOUNT, "deactivated"),
    Case("openai", 403, {"error": {"code": "Forbidden", "message": "Your resource has been temporarily blocked because "
         "we detected behavior that may violate our content policy."}}, ACCOUNT, "temporarily blocked"),
    Case("openai", 401, openai(f"Incorrect API key provided: {KEY}.", BAD_REQUEST, "invalid_api_key"), ACCOUNT,
         "check OPENAI_API_KEY"),
    Case("openai", 401, openai("Your IP is not authorized", code="ip_not_authorized"), ACCOUNT, "check OPENAI_API_KEY"),
    Case("openai", 403, openai(VERIFY, BAD_REQUEST), ACCOUNT, "must be verified"),
    Case("openai", 403, openai("Country, region, or territory not supported", "request_forbidden",
         "unsupported_country_region_territory"), ACCOUNT, "territory not supported"),
    Case("openai", 400, openai("Budget has been exceeded! Current cost: 12.0, Max budget: 10.0", "budget_exceeded",
         code="400"), ACCOUNT, "Budget has been exceeded"),
    Case("openai", 429, openai("ExceededBudget: User=x over budget. Spend=1", None, "429"), ACCOUNT, "over budget"),
    Case("openai", 400, openai(f"litellm.BadRequestError: OpenAIException - {HARD_LIMIT}. Received Model Group=x",
         code="400"), ACCOUNT, HARD_LIMIT),
    Case("openai", 400, openai(f"Error: {HARD_LIMIT}", BAD_REQUEST), ACCOUNT, HARD_LIMIT),
    Case("openai", 400, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good "
         "standing.", "request_id": "x"}, ACCOUNT, "good standing"),
    Case("openai", 400, openai("You have reached your limit", BAD_REQUEST, "monthly_limit_reached"), ACCOUNT, "limit"),
    Case("openai", 400, openai("You've reached your organization's monthly spend limit"), ACCOUNT, "spend limit"),
    Case("openai", 429, openai("No more", "requests", "spend_limit_exceeded"), ACCOUNT, "No more"),
    Case("openai", 403, openai("Your access was terminated due to violation of our usage policies.", BAD_REQUEST),
         ACCOUNT, "terminated"),
    Case("openai", 400, openai("Your account has been flagged for potentially violating our usage policies"), ACCOUNT,
         "flagged"),
    Case("openai", 400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
         ACCOUNT, "check OPENAI_API_KEY"),
    # OpenAI: our settings
    Case("openai", 400, openai("API version not supported", code="BadRequest"), ACCOUNT, "check OPENAI_BASE_URL"),
    Case("openai", 400, openai("{'error': '/images/generations: Invalid model name passed in model=x. Call'}"), ACCOUNT,
         "COPPERPLATE_IMAGE_MODEL"),
    Case("openai", 400, openai("litellm.BadRequestError: LLM Provider NOT provided. You passed model=x", code="400"),
         ACCOUNT, "You passed model=x"),
    Case("openai", 405, openai("Method Not Allowed"), ACCOUNT, "OPENAI_BASE_URL"),
    Case("openai", 404, openai("The model `x` does not exist", BAD_REQUEST, "model_not_found"), ACCOUNT, "`x`"),
    Case("openai", 400, openai("Invalid value: 'x'.", BAD_REQUEST, "invalid_value", "model"), ACCOUNT, "MODEL"),
    Case("openai", 400, openai("Unknown parameter: 'moderation'.", BAD_REQUEST, "unknown_parameter", "moderation"),
         ACCOUNT, "Unknown parameter: 'moderation'"),
    Case("openai", 400, openai("Invalid value: 'medium'.", BAD_REQUEST, "invalid_value", "quality"), ACCOUNT, "MODEL"),
    Case("openai", 404, PAGE, ACCOUNT, "OPENAI_BASE_URL"),
    Case("openai", 401, PAGE, ACCOUNT, "OPENAI_BASE_URL"),
    Case("openai", 407, PAGE, ACCOUNT, "proxy"),
    # OpenAI: the prompt
    Case("openai", 400, openai(SAFETY, USER_ERROR, "moderation_blocked"), MODERATED),
    Case("openai", 400, openai(SAFETY, BAD_REQUEST, "content_policy_violation"), MODERATED),
    Case("openai", 400, openai(SAFETY, USER_ERROR), MODERATED),
    Case("openai", 400, openai(SAFETY, BAD_REQUEST), MODERATED),
    Case("openai", 403, openai("Your chosen model requires moderation and your input was flagged"), MODERATED),
    Case("openai", 400, openai("The prompt was flagged", BAD_REQUEST), MODERATED),
    Case("openai", 400, openai(f"litellm.ContentPolicyViolationError: OpenAIException - {SAFETY}"), MODERATED),
    Case("openai", 400, openai("This may violate our content policy.", USER_ERROR), MODERATED),
    Case("openai", 400, {"error": {"code": "400", "message": "no", "innererror": {"code":
         "ResponsibleAIPolicyViolation"}}}, MODERATED),
    Case("openai", 400, openai("Invalid value: 'billing_hard_limit_reached'", BAD_REQUEST, "invalid_value", "prompt"),
         INVALID),
    Case("openai", 400, openai("Invalid size.", BAD_REQUEST, "invalid_value", "size"), INVALID),
    Case("openai", 422, {"message": "no", "type": "BadRequestError", "code": 422}, INVALID),
    Case("openai", 400, {"error": "no such size"}, INVALID),
    Case("openai", 413, PAGE, INVALID),
    # OpenAI: OpenAI, or what stands before it
    Case("openai", 429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), LIMITED),
    Case("openai", 429, PAGE, LIMITED),
    Case("openai", 400, PAGE, TRANSIENT),
    Case("openai", 403, PAGE, TRANSIENT),
    Case("openai", 405, PAGE, TRANSIENT),
    Case("openai", 408, openai("timeout", "server_error"), TRANSIENT),
    Case("openai", 500, openai("The server had an error", "server_error"), TRANSIENT),
    Case("openai", 502, PAGE, TRANSIENT, billed=True),
    # fal: our account
    Case("fal", 403, fal(LOCKED), ACCOUNT, "User is locked. Reason: Exhausted balance."),
    Case("fal", 403, fal("User is locked. Reason: TOP_UP."), ACCOUNT, "TOP_UP"),
    Case("fal", 403, fal("User is locked. Reason: Admin lock. Please contact support@fal.ai"), ACCOUNT, "Admin lock"),
    Case("fal", 402, fal("Payment Required"), ACCOUNT, "Payment Required"),
    Case("fal", 401, fal("No user found for Key ID and Secret"), ACCOUNT, "No user found for Key ID and Secret"),
    Case("fal", 401, fal(f"Invalid Key Authorization header format {KEY}"), ACCOUNT, "check FAL_KEY"),
    Case("fal", 403, fal("Cannot access application 'fal-ai/x'"), ACCOUNT, "Cannot access application"),
    Case("fal", 400, fal({"message": LOCKED}), ACCOUNT, LOCKED),
    Case("fal", 422, fal([{"loc": [], "msg": LOCKED, "type": "user_locked"}]), ACCOUNT, LOCKED),
    Case("fal", 400, fal("Account suspended"), ACCOUNT, "Account suspended"),
    Case("fal", 429, fal("Insufficient credits"), ACCOUNT, "Insufficient credits"),
    # fal: our settings
    Case("fal", 422, fal(entry("extra_forbidden", "image_size")), ACCOUNT, "COPPERPLATE_IMAGE_MODEL"),
    Case("fal", 405, fal("Method Not Allowed"), ACCOUNT, "COPPERPLATE_IMAGE_MODEL"),
    Case("fal", 404, fal("Application 'x' not found"), ACCOUNT, "Application 'x' not found"),
    Case("fal", 404, PAGE, ACCOUNT, "COPPERPLATE_FAL_QUEUE_URL"),
    Case("fal", 401, PAGE, ACCOUNT, "COPPERPLATE_FAL_QUEUE_URL"),
    Case("fal", 422, fal(entry("missing", "image_url")), ACCOUNT, "missing"),
    Case("fal", 422, fal(entry("literal_error", "output_format")), ACCOUNT, "COPPERPLATE_IMAGE_MODEL"),
    # fal: the prompt
    Case("fal", 422, fal(entry("file_download_error", "image_url")), ACCOUNT, "COPPERPLATE_FAL_UPLOAD_ACL"),
    Case("fal", 422, fal(entry("content_policy_violation")), MODERATED),
    Case("fal", 400, fal("no", error_type="content_policy_violation"), MODERATED),
    Case("fal", 422, fal("no"), MODERATED, headers={"x-fal-error-type": "content_policy_violation"}),
    Case("fal", 422, fal(entry("value_error", "seed")), INVALID),
    Case("fal", 400, fal("User prompt says: User is locked"), INVALID),
    Case("fal", 400, fal("Insufficient detail in the prompt: a purple walrus"), INVALID),
    Case("fal", 400, fal(f"not so: {KEY}"), INVALID),
    Case("fal", 413, PAGE, INVALID),
    # fal: fal, or what stands before it
    Case("fal", 429, fal("Too many requests"), LIMITED),
    Case("fal", 409, fal("conflict"), TRANSIENT),
    Case("fal", 503, fal("no runner", error_type="runner_scheduling_failure"), TRANSIENT),
    Case("fal", 503, PAGE, TRANSIENT, headers={"x-fal-request-id": "1"}),
    Case("fal", 502, PAGE, TRANSIENT, billed=True),
    Case("fal", 400, PAGE, TRANSIENT),
    Case("fal", 403, PAGE, TRANSIENT),
    Case("fal", 405, PAGE, TRANSIENT),
    Case("fal", 307, PAGE, TRANSIENT),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.provider} {case.status} {str(case.body)[:50]}")
async def test_answer_tells_whose_fault_it_is(case: Case, standin: Standin) -> None:
    provider = provider_at(case.provider, standin)
    standin.scenario_log.canned = (case.status, case.body, case.headers)
    with pytest.raises(ProviderFailed) as failed:
        await provider.submit(recipe_of(provider, "a fox"))
    assert (failed.value.failure_class, failed.value.billed) == (case.failure_class, case.billed)
    assert case.shown in str(failed.value)
    assert KEY not in str(failed.value)
    assert standin.scenario_log.posts.total() == 1
    await provider.close()


@pytest.mark.parametrize("name", ["openai", "fal"])
def test_every_row_of_the_tables_has_a_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    import httpx2
    from openai import OpenAI

    from copperplate.adapters.openai.faults import read_answer

    client, seen = OpenAI(api_key="k"), set()
    table = OF_OPENAI if name == "openai" else faults.REFUSALS
    for case in (case for case in CASES if case.provider == name):
        if name == "fal":
            given = {"text": case.body} if isinstance(case.body, str) else {"json": case.body}
            answered = httpx.Response(case.status, headers=case.headers, **given)
            answer = faults.read_answer(answered)
        else:
            request = httpx2.Request("POST", "https://x")
            given = {"text": case.body} if isinstance(case.body, str) else {"json": case.body}
            response = httpx2.Response(case.status, request=request, **given)
            answer = read_answer(client._make_status_error("no", body=case.body, response=response))
        seen.add(table.index(judge(table, answer)))
    client.close()
    unusual = len(table) - 1
    assert {*range(len(table))} - seen <= {unusual}


@pytest.mark.parametrize("case", [CASES[0], next(case for case in CASES if case.provider == "fal")])
async def test_account_without_money_costs_one_call_a_rest_and_no_prompt_is_remembered(
    case: Case, standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at(case.provider, standin))
    standin.scenario_log.canned = (case.status, case.body, {})
    for number in range(20):
        with pytest.raises(GenerationFailed) as failed:
            await harness.coordinator.find(request_of(harness.provider, f"{number} foxes"), GENERATE)
        assert (failed.value.http_status, failed.value.failure_class) == (503, ACCOUNT)
        assert "prompt" not in str(failed.value).replace("whatever the prompt", "")
        assert failed.value.retry_after_seconds is not None
        assert failed.value.retry_after_seconds <= 15
    assert standin.scenario_log.posts.total() == 1
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert case.shown in line
    # Mended, and the rest is over.
    standin.scenario_log.canned = None
    harness.ledger._breakers[harness.provider.name].open_until = 0.0
    harness.ledger._generations[request_of(harness.provider, "0 foxes").generation_key].retry_at = 0.0
    for number in range(20):
        found = await harness.coordinator.find(request_of(harness.provider, f"{number} foxes"), GENERATE)
        assert found.outcome is Outcome.GENERATED
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 20


@pytest.mark.parametrize(
    "scenario",
    [
        "bytes_data_url",
        "bytes_data_url_parameters",
        "bytes_url_safe",
        "bytes_unpadded",
        "bytes_url_safe_unpadded",
        "bytes_in_lines",
        "url_data_url",
        "url_data_url_beside_null",
        "bytes_data_url_escaped",
    ],
)
async def test_server_that_writes_the_bytes_otherwise_costs_one_call_a_prompt(
    scenario: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at("openai", standin))
    standin.scenario_log.tell("*", scenario)
    for _ in range(2):
        for number in range(20):
            await harness.coordinator.find(request_of(harness.provider, f"{number} foxes"), GENERATE)
    assert standin.scenario_log.posts.total() == 20
    assert set(standin.scenario_log.posts.values()) == {1}


@pytest.mark.parametrize("scenario", ["bytes_not_base64", "two_images", "html", "black"])
async def test_server_that_answers_rubbish_is_called_five_times_and_no_more(
    scenario: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at("openai", standin))
    standin.scenario_log.tell("*", scenario)
    for number in range(20):
        with pytest.raises(GenerationFailed) as failed:
            await harness.coordinator.find(request_of(harness.provider, f"{number} foxes"), GENERATE)
        # Who is refused by the breaker had no answer: only that the provider fails is certain.
        assert failed.value.failure_class is (BAD if number < 5 else TRANSIENT)
    assert standin.scenario_log.posts.total() == 5


@pytest.mark.parametrize("scenario", ["image_without_bytes", "bytes_are_address"])
async def test_server_that_answers_addresses_costs_one_call_and_says_what_to_set(
    scenario: str, standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at("openai", standin))
    standin.scenario_log.tell("*", scenario)
    for number in range(20):
        with pytest.raises(GenerationFailed) as failed:
            await harness.coordinator.find(request_of(harness.provider, f"{number} foxes"), GENERATE)
        assert failed.value.failure_class is ACCOUNT
        assert 100 < (failed.value.retry_after_seconds or 0) <= 120
    assert standin.scenario_log.posts.total() == 1
    assert "OPENAI_BASE_URL" in caplog.text
    # It was drawn: it is counted as paid.
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 1


@pytest.mark.parametrize(
    ("told", "failure_class"),
    [
        ({"message": HARD_LIMIT, "type": BAD_REQUEST, "code": "billing_hard_limit_reached"}, ACCOUNT),
        ({"message": "Insufficient credits. Add more", "code": 402}, ACCOUNT),
        ({"message": "slow down", "code": 429}, LIMITED),
        ({"message": SAFETY}, MODERATED),
        ("Invalid API key", ACCOUNT),
        (None, BAD),
    ],
)
async def test_error_in_an_answer_of_status_200_is_judged_by_the_table(
    told: object, failure_class: FailureClass, standin: Standin
) -> None:
    provider = provider_at("openai", standin)
    standin.scenario_log.canned = (200, {"error": told}, {})
    with pytest.raises(ProviderFailed) as failed:
        await provider.submit(recipe_of(provider, "a fox"))
    assert failed.value.failure_class is failure_class
    assert failed.value.billed is (told is None)
    await provider.close()


async def test_refusal_that_repeats_the_prompt_shows_what_to_mend_and_none_of_it(
    standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at("fal", standin))
    standin.scenario_log.canned = (403, fal(f"{'No right. ' * 40}提示词一只红色的狐狸在雪地里奔跑不可用"), {})
    with pytest.raises(GenerationFailed):
        await harness.coordinator.find(request_of(harness.provider, "一只红色的狐狸在雪地里奔跑"), GENERATE)
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "the key may not do this (403)" in line
    assert "check the rights of FAL_KEY" in line
    assert "No right" not in line


@pytest.mark.parametrize(
    ("name", "status", "body", "of_model"),
    [
        ("openai", 404, openai("The model `x` does not exist", BAD_REQUEST, "model_not_found"), True),
        ("openai", 400, openai("Unknown parameter", BAD_REQUEST, "unknown_parameter", "moderation"), True),
        ("openai", 401, openai("no", BAD_REQUEST, "invalid_api_key"), False),
        ("fal", 404, fal("Application 'x' not found"), True),
        ("fal", 403, fal(LOCKED), False),
    ],
)
async def test_refused_model_rests_alone_and_a_refused_account_with_all_models(
    name: str, status: int, body: object, of_model: bool, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at(name, standin))
    standin.scenario_log.canned = (status, body, {})
    with pytest.raises(GenerationFailed):
        await harness.coordinator.find(request_of(harness.provider, "a fox"), GENERATE)
    other = request_of(harness.provider, "a hen")
    other = replace(other, recipe={**other.recipe, "model": "another"})
    standin.scenario_log.canned = None
    if of_model:
        assert (await harness.coordinator.find(other, GENERATE)).outcome is Outcome.GENERATED
    else:
        with pytest.raises(GenerationFailed):
            await harness.coordinator.find(other, GENERATE)
    with pytest.raises(GenerationFailed):
        await harness.coordinator.find(request_of(harness.provider, "a cow"), GENERATE)


async def test_many_prompts_that_are_not_accepted_are_no_fault_of_the_next(
    standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at("openai", standin))
    standin.scenario_log.tell("*", "http_400")
    classes = []
    for number in range(20):
        with pytest.raises(GenerationFailed) as failed:
            await harness.coordinator.find(request_of(harness.provider, f"{number} foxes"), GENERATE)
        classes.append(failed.value.failure_class)
    assert classes == [INVALID] * 5 + [ACCOUNT] * 15
    assert standin.scenario_log.posts.total() == 5
