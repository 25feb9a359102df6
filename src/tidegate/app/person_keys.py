"""Give the engine the keys of single persons that it asks for, and make those that there are not yet.

Questions that wait together are answered together: a key that is new costs a write to disk, and many cost
no more than one. A key that operators' acts name as erased is given to nobody, also where somebody who can
write the database has put its row back.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from tidegate.app.logs import Trouble
from tidegate.app.services import Services
from tidegate.domain.declaration import Declaration
from tidegate.engine import Engine, PersonAsk
from tidegate.privacy import ActsAltered, erased_keys
from tidegate.store import StoreError
from tidegate.vault import VaultError, VaultRefused

TOGETHER_MAX: Final = 64
_WAIT_S: Final = 0.3
_log: Final[FilteringBoundLogger] = structlog.get_logger("tidegate")


class PersonKeyDesk:
    """The thread that answers."""

    def __init__(
        self, state: Services, engine: Engine, declaration: Callable[[], Declaration]
    ) -> None:
        self._state = state
        self._generation: int = -1
        self._erased: Collection[bytes] = ()
        self._engine = engine
        self._declaration = declaration
        self._ending = threading.Event()
        self._away = Trouble(_log, "person_keys_refused", "person_keys_given_again")
        self._thread = threading.Thread(target=self._serve, name="tidegate-person-keys")

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._ending.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._ending.is_set():
            by_client: dict[str, list[PersonAsk]] = defaultdict(list)
            for ask in self._engine.take_person_asks(TOGETHER_MAX, _WAIT_S):
                by_client[ask.client].append(ask)
            for client, asks in by_client.items():
                self._answer(client, asks)

    def _answer(self, client: str, asks: Sequence[PersonAsk]) -> None:
        try:
            self._find(client, asks)
        except (StoreError, VaultError, ActsAltered) as refused:
            self._away.met(client=client, reason=str(refused))
        except Exception as error:  # noqa: BLE001 - the thread goes on, whatever happens here
            self._away.met(client=client, reason=type(error).__name__, exc_info=error)
        else:
            self._away.over()
            return
        for ask in asks:
            self._engine.answer_person_ask(ask, None)

    def _find(self, client: str, asks: Sequence[PersonAsk]) -> None:
        keys, erased = self._state.vault.person_keys, self._follow_erasures()
        subjects = {ask.subject for ask in asks if ask.subject is not None}
        found = keys.of(client, subjects, suppressed_too=self._reports(client)) if subjects else {}
        if any(id_ in erased for id_, _ in found.values()):
            raise VaultRefused(
                f"A key of a person of client `{client}` is in the store that was destroyed when they were "
                "erased: find out who put it back, and take it out by `tidegate subject erase`."
            )
        ids = {id_ for ask in asks for id_ in ask.ids} - set(erased)
        by_id = dict(keys.with_ids(client, ids)) if ids else {}
        for ask in asks:
            if ask.subject is None:
                self._engine.answer_person_ask(
                    ask, [(id_, by_id[id_]) for id_ in ask.ids if id_ in by_id]
                )
            else:
                key = found.get(ask.subject)
                self._engine.answer_person_ask(ask, None if key is None else [key])

    def _follow_erasures(self) -> Collection[bytes]:
        generation = self._state.store.generation()
        if generation != self._generation:
            self._erased = erased_keys(self._state.acts.verified().acts)
            self._generation = generation
        return self._erased

    def _reports(self, client: str) -> bool:
        """Whether calls about suppressed persons go all the same."""
        known = {one.name: one.suppressed for one in self._declaration().clients}
        return known.get(client) == "report"
