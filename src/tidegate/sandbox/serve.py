"""Run a sandbox until it is interrupted: what the command `tidegate sandbox` does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tidegate.catalog import presets
from tidegate.domain.attach import AttachHeader
from tidegate.sandbox.contract import (
    Contract,
    contract_from_document,
    contract_from_operations,
)
from tidegate.sandbox.received import Received
from tidegate.sandbox.server import LOOPBACK, Sandbox

_BEARER = (AttachHeader("Authorization", "token", prefix="Bearer "),)


def serve(
    what: str,
    *,
    announce: Callable[[Sandbox], None],
    show: Callable[[Received], None],
    host: str = LOOPBACK,
    port: int = 0,
    rules: Sequence[str] = (),
    ca_file: Path | None = None,
) -> None:
    """Serve a preset or an OpenAPI document until SIGINT or SIGTERM.

    `announce` is called when it listens, `show` for each call when it has ended. `rules` are
    `PATH=MISBEHAVIOUR`; `ca_file` is where the authority's certificate goes besides.

    Raises:
        LookupError: there is no such preset and no such file.
        ConfigErrors: what is wrong with the document.
        ValueError: what is wrong with a rule.
        OSError: a file or the address cannot be used.
    """
    # Whoever stops us gently wants what an interrupt does: the files cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sandbox = Sandbox(contract_of(what), host=host, port=port, rules=rules)
    with suppress(KeyboardInterrupt), sandbox:
        if ca_file is not None:
            sandbox.authority.write(ca_file)
        announce(sandbox)
        for call in sandbox.received.ended():
            show(call)


def contract_of(what: str) -> Contract:
    """Take the name of a preset, or the path of a document.

    Raises:
        LookupError: it is neither.
    """
    preset = presets().get(what)
    if preset is not None:
        provider = preset.provider
        # A sandbox issues no tokens: it takes one that lasts, where the provider issues them.
        attach = _BEARER if provider.issues else provider.attach
        return contract_from_operations(preset.title, provider.operations, attach)
    path = Path(what)
    if not path.is_file():
        raise LookupError(f"`{what}` is neither a preset nor a file")
    return contract_from_document(path)
