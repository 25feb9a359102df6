"""One installation's state, opened for a command or for the gateway.

The vault is opened when something first needs it: commands that only read records or revisions work
without the root key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urljoin

from tidegate.app.home import Home
from tidegate.app.roots import root_source
from tidegate.store import Revision, Store
from tidegate.vault import Root, Vault, VaultError, create_root_file, open_root
from tidegate.vault.root import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from tidegate.credentials import AccessTokens, Connections
    from tidegate.credentials.asking import Ask
    from tidegate.domain.agreement import Register
    from tidegate.domain.declaration import Declaration
    from tidegate.domain.secret import Secret
    from tidegate.engine import Engine, Explanation, Fetched, FetchOptions
    from tidegate.privacy import Acts, Agreements

ROLLBACK_NOTE: Final = "rollback to revision "
"""How the note of a revision begins that was not declared anew; see `last_declared`."""

_OK: Final = 200
_REDIRECTS_MAX: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def services(home: Home) -> Services:
    """Open an installation's state, making its folders and its database when they are not there."""
    home.prepare()
    return Services(home, Store.open(home.store_url))


class CallingOut:
    """An engine that listens nowhere, started by the first call out."""

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def fetch(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        options: FetchOptions | None = None,
    ) -> Fetched:
        """Call out on Tidegate's own behalf."""
        with self._lock:
            self._engine = self._engine or self._start()
        return self._engine.fetch(method, url, headers, body, options)

    def close(self) -> None:
        """Stop the engine, if there is one."""
        if self._engine is not None:
            self._engine.shutdown(grace_s=0)


@dataclass(frozen=True, slots=True)
class NewRootKey:
    """A root key that was made just now, which somebody should put a copy of into safety."""

    path: Path


class Services:
    """The store, and what is built on it."""

    def __init__(self, home: Home, store: Store) -> None:
        self.home = home
        self.store = store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def make_root_key(self) -> NewRootKey | None:
        """Make the root key of an installation that has sealed nothing yet; else do nothing.

        Where something is sealed already, a missing key is missing: a new one would not open it.
        """
        if self.home.root_from != "file" or ENVIRONMENT_VARIABLE in os.environ:
            return None
        if self.home.root_key.exists():
            return None
        if not Vault.is_new(self.store):
            return None
        create_root_file(self.home.root_key)
        return NewRootKey(self.home.root_key)

    @cached_property
    def root(self) -> Root:
        """The root key, or the service that keeps it."""
        return self._open_root()

    @cached_property
    def vault(self) -> Vault:
        """The vault."""
        reopen = None if self.home.root_from == "passphrase" else self._open_root
        return Vault(self.store, self.root, self.home.anchor, reopen=reopen)

    @cached_property
    def tokens(self) -> AccessTokens:
        """Access tokens: made, listed, revoked."""
        from tidegate.credentials import AccessTokens

        return AccessTokens(self.store, self.vault)

    @cached_property
    def connections(self) -> Connections:
        """Connections: made, and forgotten."""
        from tidegate.credentials import Connections

        return Connections(self.store, self.vault)

    @cached_property
    def acts(self) -> Acts:
        """What operators did: chained, verified, added to."""
        from tidegate.privacy import Acts

        return Acts(self.store, self._acts_key)

    @cached_property
    def agreements(self) -> Agreements:
        """The register of agreements."""
        from tidegate.privacy import Agreements

        return Agreements(self.acts)

    def connections_by(self, engine: Ask) -> Connections:
        """The same, with an engine to ask providers by."""
        from tidegate.credentials import Connections

        return Connections(self.store, self.vault, engine)

    @contextmanager
    def calling_out(self) -> Generator[CallingOut]:
        """Call out for as long as the block lasts, by an engine that starts when it is needed."""
        with TemporaryDirectory(prefix="tidegate-") as folder:
            calling = CallingOut(lambda: _engine_for_fetching(Path(folder)))
            try:
                yield calling
            finally:
                calling.close()

    def apply(self, declaration: Declaration, *, author: str, note: str = "") -> Revision | None:
        """Store a declaration as the next revision; None where it is in force already.

        Raises:
            EngineError: the engine would not run it.
        """
        current = self.store.revisions.current()
        if current is not None and current.declaration == declaration:
            return None
        self._check(declaration)
        return self.store.revisions.append(
            declaration, author=author, note=note, at=datetime.now(UTC)
        )

    def rollback(self, number: int, *, author: str, note: str = "") -> Revision | None:
        """Store an earlier revision again as the next one; None where it is in force already.

        Raises:
            KeyError: there is no such revision.
        """
        earlier = self.store.revisions.get(number)
        if earlier is None:
            raise KeyError(number)
        reason = f"{ROLLBACK_NOTE}{number}" + (f": {note}" if note else "")
        return self.apply(earlier.declaration, author=author, note=reason)

    def last_declared(self) -> Revision | None:
        """Find the newest revision that was declared, and not rolled back to.

        A gateway that starts compares its file with this one. A file that still says what was
        rolled back is not applied again: the rollback stays until somebody edits the file.
        """
        revision = self.store.revisions.current()
        while revision is not None and revision.note.startswith(ROLLBACK_NOTE):
            revision = self.store.revisions.get(revision.number - 1)
        return revision

    def snapshot(self, revision: Revision) -> bytes:
        """Compile a revision together with what is recorded now."""
        from tidegate.snapshot import compile_snapshot

        return compile_snapshot(
            revision.declaration,
            revision.number,
            self.store.tokens.all(),
            self.store.connections.all(),
            suppressions=self.store.subjects.suppressions(),
            register=self.register(revision.declaration),
        )

    def register(self, declaration: Declaration) -> Register:
        """Return what was agreed, as far as the declaration asks for it.

        What does not verify, because it was altered or because the vault does not open, lets nothing go.
        """
        from tidegate.domain.agreement import Register

        if not declaration.protection:
            return Register()
        try:
            return self.agreements.trusted()
        except VaultError as refused:
            return Register(distrusted=f"The register of agreements cannot be verified: {refused}")

    def explain(
        self,
        consumer: str,
        method: str,
        url: str,
        *,
        client: str | None = None,
        connection: str | None = None,
    ) -> Explanation:
        """Say what would become of a call under the revision in force, without making it.

        `url` is a path on the gateway, with or without its address, or the provider's own URL.

        Raises:
            LookupError: nothing is applied yet.
        """
        from tidegate.app.explaining import request_for
        from tidegate.engine import explain

        revision = self.store.revisions.current()
        if revision is None:
            raise LookupError("nothing is applied yet")
        request = request_for(
            revision.declaration, consumer, method, url, client=client, connection=connection
        )
        return explain(self.snapshot(revision), request)

    def _acts_key(self) -> Secret:
        return self.vault.acts_key()

    def _open_root(self) -> Root:
        return open_root(root_source(self.home, self.store), self.store)

    def _check(self, declaration: Declaration) -> None:
        from tidegate.engine import check_snapshot
        from tidegate.snapshot import compile_snapshot

        check_snapshot(compile_snapshot(declaration, 0, (), ()))


def load_declaration(path: Path, engine: Engine | None = None) -> Declaration:
    """Read what is declared, fetching the documents that it names by URL.

    They are fetched by the engine: a running one, or one that is started for as long as it takes.

    Raises:
        ConfigErrors: everything that is wrong.
    """
    from tidegate.catalog import load

    with fetching(engine) as fetch:
        return load(path, fetch=fetch)


@contextmanager
def fetching(engine: Engine | None = None) -> Generator[Callable[[str], bytes]]:
    """Give what fetches documents: by a running engine, or by one that is started when it is needed."""
    if engine is not None:
        yield lambda url: fetch_document(engine, url)
        return
    started: list[Engine] = []
    with TemporaryDirectory(prefix="tidegate-") as folder:

        def fetch(url: str) -> bytes:
            # Most declarations name no document by URL, and then no engine is needed.
            if not started:
                started.append(_engine_for_fetching(Path(folder)))
            return fetch_document(started[0], url)

        try:
            yield fetch
        finally:
            for one in started:
                one.shutdown(grace_s=0)


@contextmanager
def engine_for_fetching() -> Generator[Engine]:
    """Start an engine that carries Tidegate's own calls, for as long as the block takes."""
    with TemporaryDirectory(prefix="tidegate-") as folder:
        engine = _engine_for_fetching(Path(folder))
        try:
            yield engine
        finally:
            engine.shutdown(grace_s=0)


def _engine_for_fetching(folder: Path) -> Engine:
    from tidegate.domain.secret import Secret
    from tidegate.engine import Engine, EngineConfig

    config = EngineConfig(spool=folder / "spool", workers=1, record=False)
    # It listens nowhere, so no access token is ever compared with this key.
    return Engine(config, Secret(os.urandom(32)))


def fetch_document(engine: Engine, url: str) -> bytes:
    """Read a document, following redirects that stay with HTTPS.

    Raises:
        OSError: with the reason, for the person who wrote the URL.
    """
    for _ in range(_REDIRECTS_MAX + 1):
        answer = _get(engine, url)
        if answer.status == _OK:
            return answer.body
        if answer.status not in _REDIRECTS:
            raise OSError(0, f"the document's host answered with status {answer.status}")
        headers = {name.lower(): value for name, value in answer.headers}
        url = urljoin(url, headers.get("location", ""))
        if not url.startswith("https://"):
            raise OSError(0, "the document's host redirects to a place without HTTPS")
    raise OSError(0, f"the document's host redirects more than {_REDIRECTS_MAX} times")


def _get(engine: Engine, url: str) -> Fetched:
    from tidegate.engine import FetchError

    try:
        return engine.fetch("GET", url, [("accept", "*/*")])
    except FetchError as error:
        raise OSError(0, f"{error.problem.title} ({error.detail})") from error
