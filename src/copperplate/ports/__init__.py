"""What the core needs from the world. Each port says in words what an adapter promises."""

from copperplate.ports.access import ApiKeys
from copperplate.ports.accounts import CreditLedger, Verifier
from copperplate.ports.budgets import Budgets
from copperplate.ports.cdns import Cdn, CdnOutbox
from copperplate.ports.clock import Clock
from copperplate.ports.feed import Feed
from copperplate.ports.kept_pictures import KeptPictures
from copperplate.ports.ledger import Ledger, Sweeper
from copperplate.ports.maintenance import Maintenance
from copperplate.ports.pictures import Cleaner, Images, OpenPicture, ProcessingProvider, Provider
from copperplate.ports.source_pictures import SourcePictures
from copperplate.ports.statistics import Statistics
from copperplate.ports.stores import ObjectStore
from copperplate.ports.takedowns import Takedowns
from copperplate.ports.tiers import TierReports
from copperplate.ports.wishes import Wishes

__all__ = [
    "ApiKeys",
    "Budgets",
    "Cdn",
    "CdnOutbox",
    "Cleaner",
    "Clock",
    "CreditLedger",
    "Feed",
    "Images",
    "KeptPictures",
    "Ledger",
    "Maintenance",
    "ObjectStore",
    "OpenPicture",
    "ProcessingProvider",
    "Provider",
    "SourcePictures",
    "Statistics",
    "Sweeper",
    "Takedowns",
    "TierReports",
    "Verifier",
    "Wishes",
]
