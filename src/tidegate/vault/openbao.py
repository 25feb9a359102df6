"""Have OpenBao's (or Vault's) transit engine wrap the clients' keys; the root key never leaves it.

The transit key is derived: each wrap has a context of its own, from which the service derives the
key that it uses. So what was wrapped for one client does not unwrap for another, also after the
service's own `rewrap`, which takes a context but no associated data.
"""

from __future__ import annotations

import base64
import os
from typing import Any, Final
from urllib.parse import urlsplit

from tidegate.domain.secret import Secret
from tidegate.vault.envelope import frame
from tidegate.vault.errors import RootRefused, RootUnavailable, VaultRefused
from tidegate.vault.optional import library

_FORMAT: Final = b"\x02"
_TIMEOUT_S: Final = 5
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class OpenBaoTransit:
    """One transit key, ready to seal and open."""

    def __init__(self, client: Any, mount: str, name: str) -> None:
        self._transit = client.secrets.transit
        self._mount = mount
        self._name = name
        self._errors: Any = library("hvac.exceptions", "openbao")

    @classmethod
    def reach(cls, key: str) -> OpenBaoTransit:
        """Find the key `MOUNT/KEY` at the service that `BAO_ADDR` and `BAO_TOKEN` name.

        Raises:
            RootRefused: the address is not HTTPS, or there is no such derived key.
        """
        mount, _, name = key.rpartition("/")
        if not mount or not name:
            raise RootRefused(f"`openbao:{key}` names no key: say `openbao:MOUNT/KEY`.")
        found = cls(openbao_client(), mount, name)
        found._require_derived()
        return found

    def seal(self, value: Secret, *bound_to: str | int | bytes) -> bytes:
        """Have a value encrypted for this one place."""
        answer = self._asked(
            self._transit.encrypt_data,
            plaintext=base64.b64encode(value.reveal()).decode(),
            context=_context(bound_to),
        )
        return _FORMAT + str(answer["data"]["ciphertext"]).encode()

    def open(self, sealed: bytes, *bound_to: str | int | bytes) -> Secret:
        """Have it decrypted for the same place."""
        if sealed[:1] != _FORMAT:
            raise VaultRefused("A sealed value does not open.")
        try:
            ciphertext = sealed[1:].decode("ascii")
            answer = self._asked(
                self._transit.decrypt_data, ciphertext=ciphertext, context=_context(bound_to)
            )
            return Secret(base64.b64decode(answer["data"]["plaintext"]))
        except (UnicodeDecodeError, self._errors.InvalidRequest):
            raise VaultRefused("A sealed value does not open.") from None

    def _require_derived(self) -> None:
        try:
            answer = self._asked(self._transit.read_key)
        except self._errors.InvalidPath:
            answer = None
        if answer is None or answer["data"].get("derived") is not True:
            raise RootRefused(
                f"OpenBao has no derived transit key `{self._mount}/{self._name}`; make it: "
                f"`bao write -f {self._mount}/keys/{self._name} derived=true`."
            )

    def _asked(self, question: Any, **what: object) -> Any:
        try:
            return question(name=self._name, mount_point=self._mount, **what)
        except (self._errors.InvalidPath, self._errors.InvalidRequest):
            raise
        except self._errors.Forbidden:
            raise RootRefused(
                f"OpenBao does not let this token use `{self._mount}/{self._name}`: its policy "
                "needs `update` on `encrypt/` and `decrypt/`, and `read` on the key."
            ) from None
        except (self._errors.VaultError, OSError) as error:
            raise RootUnavailable(
                f"OpenBao does not answer ({type(error).__name__}); what is leased goes on."
            ) from None


def openbao_client() -> Any:
    """Open a session with the service that the environment names.

    Raises:
        RootRefused: it names none, or one without HTTPS.
    """
    hvac = library("hvac", "openbao")
    address = os.environ.get("BAO_ADDR") or os.environ.get("VAULT_ADDR")
    token = os.environ.get("BAO_TOKEN") or os.environ.get("VAULT_TOKEN")
    if not address or not token:
        raise RootRefused("OpenBao needs `BAO_ADDR` and `BAO_TOKEN` in the environment.")
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise RootRefused("`BAO_ADDR` must be `https://`: keys would cross the network in clear.")
    namespace = os.environ.get("BAO_NAMESPACE") or os.environ.get("VAULT_NAMESPACE")
    return hvac.Client(url=address, token=token, namespace=namespace, timeout=_TIMEOUT_S)


def _context(bound_to: tuple[str | int | bytes, ...]) -> str:
    return base64.b64encode(frame(*bound_to)).decode()
