"""The Protocols through which services see the world, each with its contract.

Cut by guarantee, not by technology: what is durable when a call returns, what order holds,
what may be called twice, what is raised. Every method may raise UnavailableError, and then
nothing has changed. Implementations are in ``backends``; the in-memory ones there keep the
same contracts, and the same tests run on both.
"""

from enforcer.ports.batches import Batches
from enforcer.ports.feed import (
    NO_DELTAS,
    WAYPOINT_ENTRIES,
    Delta,
    FeedPublisher,
    FeedSource,
    FeedUpdate,
    Reconciliation,
)
from enforcer.ports.firewall import (
    Firewall,
    FirewallChange,
    FirewallContent,
    FirewallCount,
    FirewallHolding,
    FlatPieces,
    OwnNetworks,
    PieceJob,
    PieceWork,
)
from enforcer.ports.folds import FoldStore, KeptFold, KeptHistory
from enforcer.ports.gate import Gate, GateMode, GateReport, Histogram, ModeOverride
from enforcer.ports.keys import Receiver, Sealing, Signer
from enforcer.ports.ledger import Contents, ContentWriter, LedgerFiles, Wraps
from enforcer.ports.links import CanaryLink, ControlLink, TrialVerdict, WitnessLink
from enforcer.ports.lists import (
    CollateralWork,
    CompileJob,
    DeltaFiles,
    GuardJob,
    ListWork,
    OpenedList,
    SealedTable,
    TableStats,
)
from enforcer.ports.machine import Clock, KeptFiles
from enforcer.ports.resolver import DnsReply, ResolverUnderTest, Silence, Transport
from enforcer.ports.traffic import DnsMessage, FlowIndex, LineIndex, Octets

__all__ = [
    "NO_DELTAS",
    "WAYPOINT_ENTRIES",
    "Batches",
    "CanaryLink",
    "Clock",
    "CollateralWork",
    "CompileJob",
    "ContentWriter",
    "Contents",
    "ControlLink",
    "Delta",
    "DeltaFiles",
    "DnsMessage",
    "DnsReply",
    "FeedPublisher",
    "FeedSource",
    "FeedUpdate",
    "Firewall",
    "FirewallChange",
    "FirewallContent",
    "FirewallCount",
    "FirewallHolding",
    "FlatPieces",
    "FlowIndex",
    "FoldStore",
    "Gate",
    "GateMode",
    "GateReport",
    "GuardJob",
    "Histogram",
    "KeptFiles",
    "KeptFold",
    "KeptHistory",
    "LedgerFiles",
    "LineIndex",
    "ListWork",
    "ModeOverride",
    "Octets",
    "OpenedList",
    "OwnNetworks",
    "PieceJob",
    "PieceWork",
    "Receiver",
    "Reconciliation",
    "ResolverUnderTest",
    "SealedTable",
    "Sealing",
    "Signer",
    "Silence",
    "TableStats",
    "Transport",
    "TrialVerdict",
    "WitnessLink",
    "Wraps",
]
