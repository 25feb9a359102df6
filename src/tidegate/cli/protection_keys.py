"""`protect keys …`: the roots of the keys by which clients' values are protected."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from tidegate.cli.outcome import DONE, REFUSED, Refusal
from tidegate.cli.reading import open_state
from tidegate.cli.terminal import BAD, GOOD, NAME, QUIET, json_out, notice, say, table

keys = App(name="keys", help="List the roots that clients' values are protected by, and add one.")


@keys.default
def list_(
    *, as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False
) -> int:
    """List each client's roots: the newest protects, older ones only restore.

    The exit code is 1 when those of a client are not what was kept last.
    """
    from tidegate.vault import VaultRefused

    found: list[dict[str, str | int | None]] = []
    with open_state() as state:
        for client in state.store.protection_roots.clients():
            try:
                numbers = [number for number, _ in state.vault.protection(client)]
            except VaultRefused as refused:
                found.append(
                    {"client": client, "newest": None, "older": None, "trouble": str(refused)}
                )
            else:
                found.append(
                    {
                        "client": client,
                        "newest": numbers[-1],
                        "older": len(numbers) - 1,
                        "trouble": None,
                    }
                )
    wrong = any(one["trouble"] for one in found)
    if as_json:
        json_out(found)
        return REFUSED if wrong else DONE
    if not found:
        notice(("none", QUIET))
        return DONE
    table(
        ("client", ("protects by", "right"), ("restores by", "right"), "roots"),
        [
            (
                (str(one["client"]), NAME),
                str(one["newest"] or ""),
                f"{one['older']} older" if one["older"] else "",
                (str(one["trouble"] or "ok"), BAD if one["trouble"] else GOOD),
            )
            for one in found
        ],
    )
    return REFUSED if wrong else DONE


@keys.command
def rotate(
    *,
    client: Annotated[str, Parameter(metavar="CLIENT", help="Whose values are meant.")],
) -> int:
    """Make a client's next root. New tokens are made by it; those before are still restored.

    A running gateway takes it up at once. Digits (`tokenise: ff1`) and keyed hashes stay with the root
    that their rule names.
    """
    from tidegate.vault import VaultRefused

    with open_state() as state:
        revision = state.store.revisions.current()
        declared = () if revision is None else revision.declaration.clients
        if client not in {one.name for one in declared}:
            raise Refusal(f"client `{client}` is not declared", "`tidegate apply` declares it")
        try:
            number = state.vault.rotate_protection(client)
        except VaultRefused as refused:
            raise Refusal(str(refused)) from None
    say(("rotated ", GOOD), f"{client} is protected by root {number} from now on")
    return DONE
