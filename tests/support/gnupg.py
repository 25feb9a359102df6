"""GnuPG in a home of its own: makes keys, and opens what is encrypted to them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers import program


class Gnupg:
    """One home. Keys have no passphrase."""

    def __init__(self, home: Path) -> None:
        self._home = home
        home.mkdir(mode=0o700)

    def run(self, *arguments: str, data: bytes = b"") -> bytes:
        """What it prints; it must end well."""
        ended = subprocess.run(
            [program("gpg", package="gnupg"), "--batch", "--no-tty", "--yes", *arguments],
            input=data,
            capture_output=True,
            check=False,
            env=os.environ | {"GNUPGHOME": str(self._home)},
        )
        assert ended.returncode == 0, ended.stderr.decode()
        return ended.stdout

    def make(self, name: str, *kinds: str, expires: str = "0", now: str | None = None) -> str:
        """Make a key of these kinds, the first for signatures; its fingerprint."""
        at = ("--faked-system-time", now) if now else ()
        secret = ("--passphrase", "", "--pinentry-mode", "loopback")
        primary, *subkeys = kinds
        self.run(*at, *secret, "--quick-generate-key", name, primary, "sign", expires)
        listed = self.run("--with-colons", "--list-keys", name).decode()
        fingerprint = next(
            line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr")
        )
        for subkey in subkeys:
            self.run(*at, *secret, "--quick-add-key", fingerprint, subkey, "encrypt", expires)
        return fingerprint

    def export(self, fingerprint: str, *, armored: bool = True) -> bytes:
        """The public key."""
        return self.run(*(("--armor",) if armored else ()), "--export", fingerprint)

    def open(self, message: bytes) -> bytes:
        """What is in a message; one that was altered is an error."""
        return self.run("--decrypt", data=message)


@contextmanager
def gnupg(home: Path) -> Iterator[Gnupg]:
    """Run its agent for as long as this takes."""
    made = Gnupg(home)
    try:
        yield made
    finally:
        ends = [program("gpgconf", package="gnupg"), "--kill", "all"]
        subprocess.run(ends, check=False, env=os.environ | {"GNUPGHOME": str(home)})
