"""`vault …`: replace keys, look at the vault, shred a client, back up and restore.

No key is taken from the command line or shown on it; names of places are.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tidegate.cli.outcome import DONE, REFUSED, Refusal
from tidegate.cli.reading import open_state
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    WEAK,
    counted,
    has_terminal,
    json_out,
    notice,
    say,
    table,
)

if TYPE_CHECKING:
    from tidegate.app import Services
    from tidegate.vault.status import VaultStatus

vault = App(name="vault", help="Replace keys, look at the vault, shred, back up and restore.")

_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


@vault.command
def status(*, as_json: _Json = False) -> int:
    """Say where the root key is from, how clients' keys and manifests fare, and what is pending.

    The exit code is 1 when something is wrong: the vault is locked, or a client's rows are not what
    its manifest says.
    """
    from tidegate.app.vaulting import open_locked
    from tidegate.vault.status import status as look

    with open_state() as state:
        _require_used(state)
        found = look(open_locked(state), state.store)
        suspects = len(state.store.issued.suspects())
        anchor = state.home.anchor
    wrong = found.locked is not None or any(one.trouble for one in found.clients)
    if as_json:
        json_out(asdict(found) | {"anchor": anchor and str(anchor), "stale_suspects": suspects})
        return REFUSED if wrong else DONE
    _show(found, anchor, suspects)
    return REFUSED if wrong else DONE


@vault.command
def rotate(
    *,
    client: Annotated[
        str | None, Parameter(metavar="CLIENT", help="Give this client a new key.")
    ] = None,
    root: Annotated[bool, Parameter(negative="", help="Replace the root key.")] = False,
    to: Annotated[
        str | None,
        Parameter(
            metavar="SOURCE",
            help="Where the next root key is: `file`, `file:/PATH`, `passphrase`, `env:VARIABLE`, "
            "`keyring`, `openbao:MOUNT/KEY` or `aws-kms:KEY`.",
        ),
    ] = None,
) -> int:
    """Replace a client's key, or the root key above all clients'.

    A gateway goes on meanwhile. One that was cut off goes on when it is run again. A new root key
    that is a file is made; without `--to` it takes the place of the one there is, which stays
    beside it under a number.
    """
    from tidegate.app.vaulting import rotate_root

    if root == (client is not None):
        raise Refusal("say which key: `--client CLIENT`, or `--root`")
    if to is not None and not root:
        raise Refusal("`--to` goes with `--root`: a client's key is always made by the vault")
    with open_state() as state:
        _require_used(state)
        if client is not None:
            done = state.vault.rotate_client(client)
            say(
                ("rotated ", GOOD),
                f"{client} has key {done.version}; "
                f"{counted(done.connections, 'connection')} sealed anew",
            )
            return DONE
        replaced = rotate_root(state, to)
    say(("rotated ", GOOD), f"root key {replaced.number} wraps every client's key")
    if replaced.settings:
        notice(("set ", WEAK), f"{replaced.settings} wherever Tidegate starts from now on")
    if replaced.retired is not None:
        notice(
            ("kept ", WEAK),
            f"the key before is in {replaced.retired}: copies of the database made before need it; "
            "delete it when there is none",
        )
    return DONE


@vault.command
def acknowledge() -> int:
    """Take the database as it is for the right one, and move the anchor to it.

    To be run when you know why it is not what the anchor remembers: you restored it, or the anchor
    is new. Without TIDEGATE_ANCHOR, a store that had an anchor has none from now on.
    """
    from tidegate.app.vaulting import open_locked

    with open_state() as state:
        _require_used(state)
        opened = open_locked(state)
        was = opened.locked
        opened.acknowledge()
        anchor = state.home.anchor
    if was is not None:
        notice(("was ", WEAK), str(was))
    where = f"anchored in {anchor}" if anchor else "without an anchor"
    say(("acknowledged ", GOOD), f"the store is taken as it is, {where}")
    return DONE


@vault.command
def shred(
    *,
    client: Annotated[str, Parameter(metavar="CLIENT", help="Whose keys to destroy.")],
    yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
) -> int:
    """Destroy a client's keys, and with them everything that is sealed for it, for good.

    Its connections and issued tokens are forgotten. Credentials stay valid at the providers: revoke
    them there. Backups that were made before still hold the keys.
    """
    from tidegate.app.vaulting import shred as destroy

    with open_state() as state:
        _require_used(state)
        known = {name for name, _, _ in state.store.sealed.keks()}
        if client not in known:
            raise Refusal(f"client `{client}` has no key in the vault; there is nothing to shred")
        if not yes:
            _require_typed(client)
        gone = destroy(state, client)
    say(("shredded ", GOOD), f"{client}: its keys and {counted(gone, 'connection')} are destroyed")
    return DONE


@vault.command
def backup(
    *,
    to: Annotated[Path, Parameter(metavar="FILE", help="A file that is not there yet.")],
    recipient: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            metavar="age1…",
            help="Whoever may open it: an age recipient. At least two, each with `--recipient`.",
        ),
    ],
) -> int:
    """Write the whole store and the root key to a file that only the recipients can open.

    A gateway may run meanwhile: it is a copy of one moment. Keep it apart from the machine.
    """
    from tidegate.app.vaulting import back_up

    with open_state() as state:
        _require_used(state)
        back_up(state, to, recipient)
    say(("backed up ", GOOD), f"{to}, for {counted(len(set(recipient)), 'recipient')}")
    return DONE


@vault.command
def restore(
    file: Annotated[Path, Parameter(help="The backup.")],
    /,
    *,
    identity: Annotated[
        Path, Parameter(metavar="FILE", help="The file of an age identity that may open it.")
    ],
) -> int:
    """Restore a backup into an installation that has no state yet.

    Refresh tokens in it may be used up by now, and using one again can end a client's consent. So
    they are not used until `tidegate vault resume`; access tokens that are still alive are.
    """
    from tidegate.app import Home
    from tidegate.app.vaulting import restore as bring_back

    home = Home.from_environment()
    done = bring_back(home, file, identity)
    say(("restored ", GOOD), counted(done.connections, "connection"))
    if done.root_file is not None:
        notice(("new ", GOOD), f"root key in {done.root_file}, from the backup")
    if done.suspects:
        notice(
            ("stale ", WEAK),
            f"{counted(done.suspects, 'refresh token')} may be used up: enter them anew "
            "(`tidegate connect`), or `tidegate vault resume` where you know that they are not",
        )
    if home.anchor is not None:
        notice(("anchor ", WEAK), "the vault stays locked until `tidegate vault acknowledge`")
    return DONE


@vault.command
def resume(
    *,
    client: Annotated[
        str | None, Parameter(metavar="CLIENT", help="Only this client's; else all.")
    ] = None,
) -> int:
    """Let refresh tokens that were restored from a backup be used again."""
    from tidegate.app.vaulting import trust_grants

    with open_state() as state:
        trusted = trust_grants(state.store, client)
    for one in trusted:
        say(("resumed ", GOOD), f"{one.client} at {one.provider} ({one.name})")
    if not trusted:
        notice(("none", QUIET))
    return DONE


def _show(found: VaultStatus, anchor: Path | None, suspects: int) -> None:
    say(("root key ", NAME), f"{found.root}, from {found.source}")
    if found.replacing:
        say(
            ("pending ", WEAK),
            f"the root key is being replaced, {counted(found.pending_keks, 'key')} to re-wrap: "
            "`tidegate vault rotate --root` goes on",
        )
    say(
        ("sealed ", NAME),
        f"{counted(found.credentials, 'credential')}, "
        f"{counted(found.issued_tokens, 'issued token')}",
    )
    if found.locked is not None:
        say(("locked ", BAD), found.locked)
    elif anchor is not None:
        say(("anchor ", GOOD), f"{anchor}, at epoch {found.epoch}")
    else:
        say(("anchor ", WEAK), "none: a whole database rolled back is not detected")
    if suspects:
        say(
            ("stale ", WEAK),
            f"{counted(suspects, 'restored refresh token')} not used until `tidegate vault resume`",
        )
    table(
        ("client", "keys", ("connections", "right"), ("pending", "right"), "manifest"),
        [
            (
                (one.client, NAME),
                ", ".join(str(version) for version in one.kek_versions) or "shredded",
                str(one.connections),
                (str(one.pending), WEAK if one.pending else ""),
                (one.trouble or "ok", BAD if one.trouble else GOOD),
            )
            for one in found.clients
        ],
    )


def _require_used(state: Services) -> None:
    if not state.store.sealed.roots():
        raise Refusal(
            "there is no vault yet",
            "`tidegate connect` and `tidegate up` make it at their first use",
        )


def _require_typed(client: str) -> None:
    if not has_terminal():
        raise Refusal("nobody can be asked here", "say `--yes` where you are sure")
    notice(("shred ", BAD), f"everything that is sealed for {client} will be destroyed, for good")
    if input("Type the client's name: ").strip() != client:
        raise Refusal("that is not the client's name, so nothing was destroyed")
