"""The contract of a ledger: suites over a harness, which is one ledger whose time can be moved."""

from __future__ import annotations

from tests.contract.ledger.api_keys import ApiKeyContract
from tests.contract.ledger.batches import BatchContract
from tests.contract.ledger.breakers import BreakerContract
from tests.contract.ledger.budget_caps import BudgetCapContract
from tests.contract.ledger.budget_operations import BudgetOperationContract
from tests.contract.ledger.budgets import BudgetContract
from tests.contract.ledger.cdn_purges import CdnPurgeContract, CopyPurgeContract
from tests.contract.ledger.credits import CreditContract
from tests.contract.ledger.feed import FeedContract
from tests.contract.ledger.form_limits import FormLimitContract
from tests.contract.ledger.forms import FormContract
from tests.contract.ledger.generation_states import GenerationStateContract, WatchContract
from tests.contract.ledger.given_pictures import GivenPictureContract
from tests.contract.ledger.jobs import JobContract
from tests.contract.ledger.leases import LeaseContract
from tests.contract.ledger.lineage import LineageContract, LineagePurgeContract, LineageTakedownContract
from tests.contract.ledger.maintenance import MaintenanceContract
from tests.contract.ledger.misses import MissContract
from tests.contract.ledger.negative_entries import NegativeEntryContract
from tests.contract.ledger.parents import ParentContract
from tests.contract.ledger.placeholders import PlaceholderContract
from tests.contract.ledger.refusals import RefusalContract
from tests.contract.ledger.renditions import RenditionContract
from tests.contract.ledger.source_pictures import (
    ProcessedResultContract,
    SourcePictureContract,
    SourceRetentionContract,
)
from tests.contract.ledger.spending import SpendContract
from tests.contract.ledger.statistics import SetupContract, StatisticsContract
from tests.contract.ledger.submits import SubmitContract
from tests.contract.ledger.takedowns import TakedownContract
from tests.contract.ledger.tier_reports import TierReportContract
from tests.contract.ledger.uploads import UploadContract
from tests.contract.ledger.user_requests import UserRequestContract
from tests.contract.ledger.wishes import WishContract


class GenerationContract(LeaseContract, SubmitContract, UploadContract, GivenPictureContract, RenditionContract):
    """A generation from its lease to its renditions."""


class WorkContract(WishContract, BatchContract, GenerationStateContract, WatchContract):
    """What is made although nobody waits."""


class ProcessingContract(
    SourcePictureContract,
    ProcessedResultContract,
    SourceRetentionContract,
    LineageContract,
    LineageTakedownContract,
    ParentContract,
    LineagePurgeContract,
):
    """What is made of pictures that somebody brings."""


class LedgerContract(
    GenerationContract,
    FormContract,
    FormLimitContract,
    MissContract,
    JobContract,
    CreditContract,
    UserRequestContract,
    ApiKeyContract,
    SpendContract,
    BudgetContract,
    BudgetCapContract,
    BudgetOperationContract,
    NegativeEntryContract,
    BreakerContract,
    RefusalContract,
    MaintenanceContract,
    CdnPurgeContract,
    CopyPurgeContract,
    TakedownContract,
    FeedContract,
    TierReportContract,
    PlaceholderContract,
    StatisticsContract,
    SetupContract,
    WorkContract,
    ProcessingContract,
):
    """What every ledger promises."""
