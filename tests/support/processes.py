"""Processes that a test starts in numbers, and may kill: forked from one that has imported all."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from support.samples import connection
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault import RootFile, Vault, open_root

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tidegate.vault", "tidegate.credentials"])


def start(work: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Pipe]:
    """Run a function of this module; it gets the pipe's other end first."""
    here, there = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=work, args=(there, *arguments), daemon=True)
    process.start()
    there.close()
    return process, here


def open_store(pipe: Pipe, url: str) -> None:
    """Open a store and say how that went."""
    try:
        Store.open(url).close()
    except Exception as error:  # noqa: BLE001 - the test shows whatever it was
        pipe.send(repr(error))
    else:
        pipe.send("opened")


def seal_without_end(pipe: Pipe, url: str, root_file: Path, first: int) -> None:
    """Seal secrets one after another in two versions each, and name each that is done."""
    store = Store.open(url)
    vault = Vault(store, open_root(RootFile(root_file), store))
    number = first
    while True:
        name = f"c{number}"
        made = connection(id=f"con_{name}", name=name)
        vault.seal(made, {"token": Secret(f"first-{name}")})
        vault.seal(replace(made, version=2), {"token": Secret(f"second-{name}")})
        pipe.send(name)
        number += 1


def make_person_keys(pipe: Pipe, url: str, root_file: Path, subjects: list[bytes]) -> None:
    """Make a key for each of these subjects, one after another, and send them all."""
    with Store.open(url) as store:
        vault = Vault(store, open_root(RootFile(root_file), store))
        found = [vault.person_keys.of("acme", [one], suppressed_too=False)[one] for one in subjects]
        pipe.send([(id_, key.reveal()) for id_, key in found])
