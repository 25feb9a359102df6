"""A provider made from an OpenAPI document: for demos, our tests and users' own.

`server` runs it, `authority` gives it TLS, `provider` answers a request by the `contract` that was
read from a document (`generate` fills what it leaves open), `credential` judges who calls,
`misbehaviour` bends the answer, `received` remembers what came. `keys` and `breaking` are providers of
their own: one that manages keys, and one that breaks off wherever a call can break.
"""

from tidegate.sandbox.authority import Authority, ServerCertificate
from tidegate.sandbox.breaking import FAULTS, BreakingServer
from tidegate.sandbox.contract import (
    Contract,
    contract_from_document,
    contract_from_operations,
)
from tidegate.sandbox.keys import Dialect, IssuedKey, KeyServer
from tidegate.sandbox.loopback import LoopbackRequest, LoopbackServer
from tidegate.sandbox.misbehaviour import (
    Big,
    Cut,
    Echo,
    Fail,
    Mirror,
    Misbehaviour,
    Redirect,
    Slow,
    Sse,
    Trickle,
)
from tidegate.sandbox.received import Ledger, Received
from tidegate.sandbox.serve import contract_of, serve
from tidegate.sandbox.server import Options, Sandbox
from tidegate.sandbox.tokens import TokenServer

__all__ = [
    "FAULTS",
    "Authority",
    "Big",
    "BreakingServer",
    "Contract",
    "Cut",
    "Dialect",
    "Echo",
    "Fail",
    "IssuedKey",
    "KeyServer",
    "Ledger",
    "LoopbackRequest",
    "LoopbackServer",
    "Mirror",
    "Misbehaviour",
    "Options",
    "Received",
    "Redirect",
    "Sandbox",
    "ServerCertificate",
    "Slow",
    "Sse",
    "TokenServer",
    "Trickle",
    "contract_from_document",
    "contract_from_operations",
    "contract_of",
    "serve",
]
