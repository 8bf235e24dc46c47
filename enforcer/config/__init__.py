"""The TOML files of every program, each as one frozen value that was checked when it was read.

One module for each file says which keys it has, and their bounds; :mod:`~enforcer.config.reading`
reads any of them. Nothing here opens what the paths name, password and trust files excepted.
"""

from enforcer.config.client import ClientConfig
from enforcer.config.control import AskedWitness, ControlConfig
from enforcer.config.gate import BlockPage, GateConfig
from enforcer.config.node import CanaryPart, FirewallPart, NodeConfig, SyncPart
from enforcer.config.parts import ClientTls, Control, ServerTls
from enforcer.config.reading import File, Section, plain_words, read
from enforcer.config.redis import Redis
from enforcer.config.trust import TrustedWitnesses, TrustFile, read_trust
from enforcer.config.values import Address, Identifier, Origin, Prefix, Url
from enforcer.config.witness import WitnessConfig, WitnessedLog

__all__ = [
    "Address",
    "AskedWitness",
    "BlockPage",
    "CanaryPart",
    "ClientConfig",
    "ClientTls",
    "Control",
    "ControlConfig",
    "File",
    "FirewallPart",
    "GateConfig",
    "Identifier",
    "NodeConfig",
    "Origin",
    "Prefix",
    "Redis",
    "Section",
    "ServerTls",
    "SyncPart",
    "TrustFile",
    "TrustedWitnesses",
    "Url",
    "WitnessConfig",
    "WitnessedLog",
    "plain_words",
    "read",
    "read_trust",
]
