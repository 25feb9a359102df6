"""What `tidegate up` runs: one engine, and around it what keeps it supplied.

    1. read      the file becomes a revision, when it says something new
    2. publish   the revision and what is recorded become the engine's snapshot
    3. lease     connections' secrets go to the engine, and are renewed
    4. drain     what happened goes from the engine to the store
    5. follow    edits of the file, and what other processes write, start again at 1 or 2

Whatever fails in this loop, the engine goes on with what it has: a bad edit, a store that is gone
or a snapshot that is refused never stops calls.

A rollback is a new revision, made by another process; it is followed like any other. The file still
says what was rolled back, and stays unread until somebody edits it, also over a restart.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from structlog.typing import FilteringBoundLogger

from tidegate import __version__
from tidegate.app.agreeing import AgreementWatch
from tidegate.app.caching import answer_cache_questions
from tidegate.app.certificates import Certificates
from tidegate.app.control import Control, Question
from tidegate.app.home import Home
from tidegate.app.logs import Trouble
from tidegate.app.person_keys import PersonKeyDesk
from tidegate.app.services import Services, load_declaration, services
from tidegate.app.signals import Signals
from tidegate.app.startup import engine_config
from tidegate.app.watching import Watch
from tidegate.catalog import ConfigErrors, Settings, load_settings, weaknesses
from tidegate.credentials import (
    Caretaker,
    Consents,
    HookSigners,
    IssuerKeys,
    Keeper,
    Leases,
    References,
    Refresher,
    Rotator,
)
from tidegate.domain.declaration import Declaration
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineError
from tidegate.events import Drain
from tidegate.snapshot import changes, is_bound
from tidegate.store import Revision, StoreError
from tidegate.vault import VaultError, harden_process

if TYPE_CHECKING:
    from tidegate.app.metrics import MetricsListener
    from tidegate.consent import Pages

TICK_S: Final = 0.3
"""How often the file and the store are looked at."""

LEASES_EVERY_S: Final = 60.0
GRACE_S: Final = 20.0
"""How long calls under way may take to finish; with the drain, a stop stays below 30 s."""

DRAIN_S: Final = 4.0

_CHANGES_LOGGED_MAX: Final = 20
_log: Final[FilteringBoundLogger] = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True)
class Started:
    """What to tell once calls are taken: where it listens, what is in force, what is weak."""

    addresses: dict[str, str]
    revision: int
    weak: tuple[str, ...]


class Gateway:
    """One gateway, from start to stop."""

    def __init__(self, home: Home, path: Path, *, author: str, grace_s: float = GRACE_S) -> None:
        self._home = home
        self._path = path
        self._author = author
        self._grace_s = grace_s
        self._ready = threading.Event()
        self._addresses: dict[str, str] = {}
        self._pages: dict[str, str] = {}
        self._since = datetime.now(UTC)
        # Plain flags, because a signal's handler may set them and must not wait for a lock.
        self._stopping = False
        self._rereading = False

    def run(self, tell: Callable[[Started], None] | None = None) -> None:
        """Start, serve until stopped, and stop without losing a record.

        `tell` is called once calls are taken; without it, the log tells.

        Raises:
            ConfigErrors: the file is wrong, and there is no revision to serve instead.
            RootRefused, StoreError, EngineError: something that it needs is not as it must be.
        """
        harden_process()
        settings = load_settings(self._path)
        with ExitStack() as stack:
            state = stack.enter_context(services(self._home))
            _make_root_key(state)
            config = engine_config(settings, self._home)
            engine = stack.enter_context(Engine(config, state.vault.token_key()))
            supply = Supply(state, engine, self._path, settings, self._author)
            supply.begin()
            metrics = _metrics(settings, engine)
            drain = Drain(engine, state.store, metrics.calls.observe if metrics else None)
            drain.start()
            # Last of all: until the engine has stopped, calls may carry what it was leased.
            stack.callback(supply.caretaker.gone)
            # Calls that are still under way are signed and sealed until the engine has stopped.
            stack.callback(supply.hook_signers.stop)
            person_keys = PersonKeyDesk(state, engine, lambda: supply.declaration)
            person_keys.start()
            stack.callback(person_keys.stop)
            stack.callback(self._stop, engine, drain)
            pages = _consent_pages(settings, state, engine, supply)
            if pages is not None:
                pages.start()
                stack.callback(pages.stop)
                self._pages = pages.address
            if metrics is not None:
                metrics.start()
                stack.callback(metrics.stop)
                self._pages = self._pages | metrics.address
            supply.keeper.start()
            supply.references.start()
            supply.issuer_keys.start()
            supply.caretaker.start()
            # It ends before the engine, by which it asks.
            stack.callback(supply.keeper.stop)
            stack.callback(supply.references.stop)
            stack.callback(supply.issuer_keys.stop)
            stack.callback(supply.caretaker.stop)
            control = self._control(engine, supply)
            control.start()
            stack.callback(control.stop)
            stack.enter_context(Signals(stop=self.stop, reread=self.reread))
            self._take_calls(engine, supply, state, tell or _log_started)
            self._follow(supply)

    def stop(self) -> None:
        """Ask it to stop."""
        self._stopping = True

    def reread(self) -> None:
        """Ask it to read the file again, edited or not."""
        self._rereading = True

    def wait_ready(self, timeout_s: float) -> dict[str, str]:
        """Wait until calls are taken, and say where: address by listener.

        Raises:
            TimeoutError: it took longer.
        """
        if not self._ready.wait(timeout_s):
            raise TimeoutError("the gateway did not become ready in time")
        return self._addresses

    def _control(self, engine: Engine, supply: Supply) -> Control:
        control = Control(self._home.control)
        control.answers("status", Question, lambda _: self._status(engine, supply))
        control.answers("limits", Question, lambda _: supply.limits())
        answer_cache_questions(control, engine)
        return control

    def _status(self, engine: Engine, supply: Supply) -> dict[str, object]:
        return {
            "version": __version__,
            "process": os.getpid(),
            "since": self._since.isoformat(),
            "ready": self._ready.is_set(),
            "addresses": self._addresses,
            **asdict(engine.stats()),
            "revision": supply.revision.number,
            "shared": asdict(shared) if (shared := engine.shared()) else None,
        }

    def _take_calls(
        self,
        engine: Engine,
        supply: Supply,
        state: Services,
        tell: Callable[[Started], None],
    ) -> None:
        engine.set_ready(ready=True)
        self._addresses = engine.addresses() | self._pages
        known = [*weaknesses(supply.declaration), *supply.settings.weaknesses()]
        weak = [f"{weakness.where}: {weakness.what}" for weakness in known]
        if state.root.weakness:
            weak.append(state.root.weakness)
        tell(Started(self._addresses, supply.revision.number, tuple(weak)))
        _notify_systemd("READY=1")
        self._ready.set()

    def _follow(self, supply: Supply) -> None:
        unforeseen = Trouble(_log, "unforeseen_error", "unforeseen_error_over")
        while not self._stopping:
            rereading, self._rereading = self._rereading, False
            try:
                supply.look(rereading=rereading)
            except Exception as error:  # noqa: BLE001 - calls go on, whatever happens here
                unforeseen.met(kind=type(error).__name__, exc_info=error)
            else:
                unforeseen.over()
            time.sleep(TICK_S)

    def _stop(self, engine: Engine, drain: Drain) -> None:
        _notify_systemd("STOPPING=1")
        _log.info("stopping", in_flight=engine.stats().in_flight, grace_s=self._grace_s)
        finished = engine.shutdown(self._grace_s)
        stored = drain.finish(DRAIN_S)
        _log.info("stopped", calls_finished=finished, records_stored=stored)


class Supply:
    """What an engine is supplied with, and what it was supplied with last."""

    def __init__(
        self, state: Services, engine: Engine, path: Path, settings: Settings, author: str
    ) -> None:
        self._state = state
        self.settings = settings
        self._engine = engine
        self._path = path
        self._author = author
        self.references = References(state.store, state.vault, lambda: self.declaration)
        self._leases = Leases(state.store, state.vault, engine, self.references.held)
        self._leases_at = 0.0
        # The spool belongs to one process at a time, so whoever has this name is alone with it: a
        # turn that it left open was left by a process that is dead.
        holder = f"{socket.gethostname()}:{state.home.data.absolute()}"
        refresher = Refresher(state.store, state.vault, engine, holder=holder)
        self.keeper = Keeper(
            state.store, refresher, lambda: self.declaration, engine.refused_tokens
        )
        rotator = Rotator(state.store, state.vault, engine, holder=holder)
        self.caretaker = Caretaker(
            state.store,
            rotator,
            lambda: self.declaration,
            lambda: self._taken_up,
            gateway=holder,
        )
        self.issuer_keys = IssuerKeys(engine, lambda: self.declaration)
        self.hook_signers = HookSigners(engine)
        self._watch = Watch(path)
        self._certificates = Certificates(engine, settings.listeners)
        self._agreements = AgreementWatch(state)
        self._taken_up: int = -1
        self._unread = False
        self._generation: int = -1
        self._revision: Revision | None = None
        self._snapshot = b""
        self._unbound = set[str]()
        last = state.last_declared()
        self._declared = last.declaration if last else None
        self._store_away = Trouble(_log, "store_unavailable", "store_available_again")
        self._vault_away = Trouble(_log, "vault_locked", "vault_open_again")
        self._shared_away = Trouble(_log, "shared_store_lost", "shared_store_back")

    @property
    def revision(self) -> Revision:
        """The revision in force."""
        if self._revision is None:
            raise LookupError("nothing is in force before `begin`")
        return self._revision

    @property
    def declaration(self) -> Declaration:
        """What the revision in force declares."""
        return self.revision.declaration

    def limits(self) -> dict[str, object]:
        """Say where every limit stands, with clients' and connections' names for their ids."""
        found = self._engine.limits()
        known = {one.id: one for one in self._state.store.connections.all()}
        for quota in found.get("quotas", []):
            connection = known.get(quota["connection"])
            # Where calls need no connection, the count has the client's name.
            quota["client"] = connection.client if connection else quota["connection"]
            quota["connection_name"] = connection.name if connection else None
        return found

    def begin(self) -> None:
        """Put the file in force; where it is wrong, the revision that was in force before.

        Raises:
            ConfigErrors: the file is wrong, and nothing was in force before.
        """
        try:
            self._read()
        except ConfigErrors as wrong:
            if self._state.store.revisions.current() is None:
                raise
            self._refuse(wrong)
        generation = self._state.store.generation()
        self._publish()
        self.references.look()
        self._follow_references()
        self._generation = generation
        self._taken_up = generation

    def look(self, *, rereading: bool) -> None:
        """Take up what has changed since the last look. To be called often."""
        self._certificates.look()
        if self._watch.changed() or rereading:
            self._unread = True
        try:
            if self._unread:
                self._reread()
            self._follow_store()
            self._agreements.look(self.declaration)
        except StoreError as error:
            self._store_away.met(reason=str(error))
        else:
            self._store_away.over()
        self._follow_shared()

    def _follow_shared(self) -> None:
        shared = self._engine.shared()
        if shared is None or shared.state == "starting":
            return
        if shared.state == "lost":
            hint = f"each gateway goes by its part of every quota, one of {shared.nodes}"
            self._shared_away.met(reason=shared.reason, hint=hint)
        else:
            self._shared_away.over()

    def _reread(self) -> None:
        try:
            self._read()
            if load_settings(self._path) != self.settings:
                hint = "they come into force with the next start"
                _log.warning("gateway_settings_changed", hint=hint)
        except ConfigErrors as wrong:
            self._refuse(wrong)
        except EngineError as error:
            _log.error("declaration_refused", reason=str(error), in_force=self.revision.number)
        # Not reached while the store is away, so that the edit is read again when it is back.
        self._unread = False

    def _read(self) -> None:
        declaration = load_declaration(self._path, self._engine)
        if declaration == self._declared:
            return
        note = f"from {self._path.name}"
        made = self._state.apply(declaration, author=self._author, note=note)
        self._declared = declaration
        if made is not None:
            _log.info("revision_made", revision=made.number, path=str(self._path))

    def _refuse(self, wrong: ConfigErrors) -> None:
        for error in wrong.errors:
            _log.error(
                "declaration_wrong",
                place=f"{error.file}:{error.line}:{error.column}",
                what=error.message,
                hint=error.hint,
            )
        number = self._revision.number if self._revision else None
        _log.error("declaration_refused", errors=len(wrong.errors), in_force=number)

    def _follow_store(self) -> None:
        # Read before what it counts: a change in between is seen at the next look.
        generation = self._state.store.generation()
        if generation != self._generation:
            self._follow_vault()
            try:
                self._publish()
            except EngineError as error:
                _log.error("snapshot_refused", reason=str(error), in_force=self.revision.number)
            else:
                self._taken_up = generation
            self._generation = generation
        elif self.keeper.take_changed() or time.monotonic() - self._leases_at > LEASES_EVERY_S:
            self._renew_leases()
        self._follow_references()

    def _follow_references(self) -> None:
        if self.references.take_changed():
            self._renew_leases()

    def _follow_vault(self) -> None:
        """Learn of keys that were replaced, while those before them are still good."""
        try:
            self._state.vault.follow()
        except VaultError as refused:
            self._vault_away.met(reason=str(refused))
        else:
            self._vault_away.over()

    def _publish(self) -> None:
        revision = self._state.store.revisions.current()
        if revision is None:
            raise LookupError("the store has no revision")
        snapshot = self._state.snapshot(revision)
        # Before the snapshot: a call for a client that it adds may be about somebody.
        self._renew_subject_keys(revision.declaration)
        if snapshot != self._snapshot:
            self._engine.publish(snapshot)
            self._snapshot = snapshot
        if self._revision is None or revision.number != self._revision.number:
            self._log_revision(revision)
        self._revision = revision
        self.hook_signers.follow(revision.declaration)
        self._tell_unbound()
        # Before leases: what is taken out of the cache with a connection is named by these keys.
        self._renew_cache_keys()
        self._renew_protection_roots()
        # Somebody may have been erased.
        self._engine.forget_person_keys()
        self._renew_leases()

    def _renew_subject_keys(self, declaration: Declaration) -> None:
        try:
            keys = self._state.vault.subject_keys(client.name for client in declaration.clients)
        except VaultError as refused:
            # Without them no call goes that names whom it is about; the others go on.
            _log.error("subject_keys_refused", reason=str(refused))
            keys = {}
        self._engine.put_subject_keys(keys)

    def _renew_cache_keys(self) -> None:
        shared = self.settings.shared
        shares = shared is not None and shared.cache_client_bytes is not None
        if not shares and self.settings.cache.disk_bytes is None:
            return
        clients = [client.name for client in self.declaration.clients]
        try:
            keys = self._state.vault.cache_keys(clients)
        except VaultError as refused:
            # Without them answers are in this gateway's memory alone.
            _log.error("cache_keys_refused", reason=str(refused))
            keys = {}
        self._engine.put_cache_keys(keys)

    def _renew_protection_roots(self) -> None:
        """Give the engine what clients' values are protected by, where a policy needs it."""
        if not any(policy.needs_keys for policy in self.declaration.protection):
            return
        roots: dict[str, list[tuple[int, Secret]]] = {}
        for client in self.declaration.clients:
            try:
                roots[client.name] = self._state.vault.protection(client.name)
            except VaultError as refused:
                # Calls that need them are refused; those of other clients go on.
                _log.error("protection_roots_refused", client=client.name, reason=str(refused))
        self._engine.put_protection_roots(roots)

    def _log_revision(self, revision: Revision) -> None:
        _log.info("revision_in_force", revision=revision.number, author=revision.author)
        if self._revision is None:
            return
        found = changes(self._revision.declaration, revision.declaration)
        for change in found[:_CHANGES_LOGGED_MAX]:
            _log.info(change.kind, place=change.path, before=change.before, after=change.after)
        if len(found) > _CHANGES_LOGGED_MAX:
            _log.info("and_more", changes=len(found) - _CHANGES_LOGGED_MAX)
        known = weaknesses(self._revision.declaration)
        for weakness in weaknesses(revision.declaration):
            if weakness not in known:
                _log.warning("weak", what=f"{weakness.where}: {weakness.what}")

    def _renew_leases(self) -> None:
        renewal = self._leases.renew(datetime.now(UTC))
        self._leases_at = time.monotonic()
        for connection, reason in renewal.refused:
            _log.error(
                "lease_refused",
                client=connection.client,
                provider=connection.provider,
                connection=connection.name,
                reason=reason,
            )

    def _tell_unbound(self) -> None:
        """Say which connections are left out because their provider has moved; each once."""
        providers = {provider.name: provider for provider in self.declaration.providers}
        unbound: set[str] = set()
        for connection in self._state.store.connections.all():
            provider = providers.get(connection.provider)
            if provider is None or is_bound(provider, connection):
                continue
            unbound.add(connection.id)
            if connection.id not in self._unbound:
                _log.warning(
                    "connection_not_bound",
                    client=connection.client,
                    provider=connection.provider,
                    connection=connection.name,
                    hint="the provider's origins have changed; enter the secret again",
                )
        self._unbound = unbound


def _consent_pages(
    settings: Settings, state: Services, engine: Engine, supply: Supply
) -> Pages | None:
    """Make the consent pages that the settings want.

    Raises:
        OSError: the address cannot be listened on, or a file cannot be read.
    """
    wanted = settings.consent
    if wanted is None:
        return None
    tls = None
    if wanted.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(wanted.certificate, wanted.key)
    consents = Consents(
        state.store, state.vault, engine, lambda: supply.declaration, wanted.public_url
    )
    host, _, port = wanted.bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    # Late, because most gateways have no page to show, and all wait for what is loaded.
    from tidegate.consent import Pages

    return Pages(listener, consents, wanted.public_url, tls)


def _metrics(settings: Settings, engine: Engine) -> MetricsListener | None:
    """Listen for Prometheus where that is wanted; imported only then."""
    if settings.metrics is None:
        return None
    from tidegate.app.metrics import MetricsListener

    return MetricsListener(settings.metrics, engine)


def _make_root_key(state: Services) -> None:
    made = state.make_root_key()
    if made is not None:
        _log.warning(
            "root_key_made",
            path=str(made.path),
            hint="keep a copy in a safe place: without it nothing that is sealed opens again",
        )


def _log_started(started: Started) -> None:
    for weakness in started.weak:
        _log.warning("weak", what=weakness)
    _log.info("ready", revision=started.revision, **started.addresses)


def _notify_systemd(state: str) -> None:
    """Tell a service manager that waits for it (sd_notify(3)); a no-op without one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A leading `@` stands for Linux's abstract namespace.
    place = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.connect(place)
        manager.sendall(state.encode())
