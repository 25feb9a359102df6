"""The native module, as Python sees it. Checked against the built module by stubtest."""

from collections.abc import Mapping
from typing import final

__all__ = [
    "Engine",
    "EngineError",
    "FetchError",
    "classify_address",
    "explain",
    "misfit",
    "problems",
    "read_signals",
    "simulate",
    "subject_index",
    "try_sample",
    "version",
]

class EngineError(Exception):
    """The engine refused what it was given; the message says what and why, and holds no secret."""

class FetchError(Exception):
    """A call out of Tidegate's own failed. `args` is `(code, detail)`; code is a problem's code."""

def version() -> str: ...
def problems() -> list[tuple[str, int, str]]:
    """Every problem the engine can answer with: `(code, status, title)`."""

def explain(snapshot: bytes, question: str) -> str:
    """Say what each step would decide about a request; both are JSON."""

def misfit(schema: str, document: bytes) -> str | None:
    """Say what of a document does not fit a JSON Schema with its `$defs`; None where it fits."""

def simulate(snapshot: bytes, play: str) -> str:
    """Play loads against a snapshot's limits and quotas in virtual time; both are JSON."""

def try_sample(snapshot: bytes, sample: str) -> str:
    """Show what a policy makes of a sample of a request; both are JSON."""

def read_signals(
    dialect: str,
    status: int,
    headers: list[tuple[str, str]],
    body: bytes | None,
    now_ms: int,
) -> str:
    """Say what a dialect (JSON, as in a snapshot) makes of an answer, as JSON."""

def subject_index(key: bytes, kind: str, identifier: str) -> bytes:
    """By what a subject is known under a client's key: 32 bytes. EngineError: what is wrong with it."""

def classify_address(text: str) -> str | None:
    """Name the class of an address that no call may reach; None for one of the open Internet."""

@final
class Engine:
    """Listeners, workers and spool. Dropping it without `shutdown` ends it at once."""

    def __new__(cls, config: str, token_key: bytes) -> Engine:
        """Start. `config` is JSON (docs/reference/engine.md); `token_key` keys access-token hashes."""
    def addresses(self) -> list[tuple[str, str]]:
        """Where it listens: `(name, "ip:port")` in the order of the config."""
    def renew_tls(self, listener: str, tls: str) -> None:
        """Have a listener go on with this TLS (JSON). On EngineError the old one stays."""
    def publish(self, snapshot: bytes) -> int:
        """Swap in a snapshot (JSON); returns its revision. On EngineError the old one stays."""
    def lease(
        self,
        connection: str,
        version: int,
        serial: int,
        origins: list[str],
        fields: Mapping[str, bytes],
        until: float,
    ) -> None:
        """Give a connection's secret to the engine until `until` (Unix seconds).

        `serial` numbers the tokens that were issued for it; 0 for a credential that is none.
        """
    def release(self, connection: str, ended: bool) -> None:
        """Take a lease back and wipe it; `ended`: its consent is gone. Unknown ids are ignored."""
    def put_keys(self, issuer: str, keys: bytes) -> None:
        """Take an issuer's keys (JSON Web Key Set); those before are forgotten."""
    def wanted_keys(self) -> list[str]:
        """Issuers whose keys did not do since this was asked last."""
    def refused_tokens(self, timeout_ms: int) -> list[tuple[str, int]]:
        """Wait for tokens that a provider did not take: `(connection, serial)`, each told once."""
    def take_hook_call(
        self, hook: str, timeout_ms: int
    ) -> tuple[int, str, str, list[tuple[str, bytes]], bytes, list[tuple[str, bytes]]] | None:
        """Wait for a call to be signed: `(number, method, url, headers, body, fields)`."""
    def answer_hook_call(
        self, call: int, headers: list[tuple[str, bytes]], query: list[tuple[str, str]]
    ) -> None:
        """Give what a hook adds to a call. Unknown numbers are ignored."""
    def fail_hook_call(self, call: int, detail: str) -> None:
        """Refuse a call because its hook failed."""
    def events(self, max_events: int, timeout_ms: int) -> tuple[int, list[bytes]]:
        """Wait for events; returns `(cursor, JSON lines)`, empty after the timeout."""
    def acknowledge(self, cursor: int) -> None:
        """Everything before `cursor` is stored: its spool may go."""
    def gaps(self) -> list[tuple[int, int, str]]:
        """Gaps found at start: `(after_ms, events_max, reason)`; cleared by the call."""
    def fetch(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        secrets: Mapping[str, bytes],
        options: str,
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Call out on Tidegate's own behalf by the same dialler. `options` is JSON.

        `secrets` are the fields of a credential that `options` has the call signed with, and the client
        certificate (`tls_certificate`, `tls_key`) for an origin that asks for one.

        Raises FetchError.
        """
    def put_cache_keys(self, keys: dict[str | None, bytes]) -> None:
        """Take the keys by which clients' answers are sealed outside memory."""
    def put_subject_keys(self, keys: dict[str, bytes]) -> None:
        """Take the keys by which clients' subjects are known; those before are forgotten."""

    def put_protection_roots(self, clients: Mapping[str, list[tuple[int, bytes]]]) -> None:
        """Take the roots of the keys by which clients' values are protected; those before are wiped."""
    def take_person_asks(
        self, most: int, timeout_ms: int
    ) -> list[tuple[int, str, bytes | None, list[bytes]]]:
        """Wait for persons' keys to be asked for: `(number, client, index of one person, ids of keys)`."""
    def answer_person_ask(self, ask: int, keys: list[tuple[bytes, bytes]] | None) -> None:
        """Give the keys there are, by their ids; None: nobody can say. Unknown numbers are ignored."""
    def forget_person_keys(self) -> None:
        """Forget every person's key; they are asked for again."""
    def cache_stats(self) -> str:
        """What the cache holds, as JSON."""
    def cache_purge(self, which: str) -> int:
        """Take out of the cache what a JSON object names; how many answers those were."""
    def stats(self) -> dict[str, int]:
        """Counters: calls, in_flight, connections, spool_bytes, events_lost, revision."""
    def shared(self) -> str:
        """How it stands with the store that gateways share, as JSON; `null` where there is none."""
    def limits(self) -> str:
        """The live state of every limit, as JSON."""
    def set_ready(self, ready: bool) -> None: ...
    def shutdown(self, grace_ms: int) -> bool:
        """Stop accepting, finish calls within the grace, flush the spool; False when some were cut."""
