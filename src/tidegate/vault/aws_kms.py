"""Have AWS KMS wrap the clients' keys; the root key never leaves it.

What a wrap is for is its encryption context, which KMS authenticates and writes to CloudTrail: so
the client's name is in it, and nothing secret.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from tidegate.domain.secret import Secret
from tidegate.vault.envelope import frame
from tidegate.vault.errors import RootRefused, RootUnavailable, VaultRefused
from tidegate.vault.optional import library

_FORMAT: Final = b"\x03"
_TIMEOUT_S: Final = 5
_DOES_NOT_OPEN: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_NOT_ALLOWED: Final = frozenset(
    {"AccessDeniedException", "NotFoundException", "DisabledException", "KMSInvalidStateException"}
)


class AwsKms:
    """One key of KMS, ready to seal and open."""

    def __init__(self, client: Any, key: str) -> None:
        self._client = client
        self._key = key
        self._errors: Any = library("botocore.exceptions", "aws")

    @classmethod
    def reach(cls, key: str) -> AwsKms:
        """Find a key by id, ARN or `alias/NAME`; region and credentials come as AWS's tools have them.

        Raises:
            RootRefused: there is no such key, or it may not be used.
        """
        config = library("botocore.config", "aws").Config(
            connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"max_attempts": 3}
        )
        errors = library("botocore.exceptions", "aws")
        try:
            client = library("boto3", "aws").client("kms", config=config)
        except errors.BotoCoreError as error:
            raise RootRefused(
                f"AWS KMS cannot be used ({type(error).__name__}); set `AWS_REGION` and credentials."
            ) from None
        found = cls(client, key)
        found._asked(client.describe_key, KeyId=key)
        return found

    def seal(self, value: Secret, *bound_to: str | int | bytes) -> bytes:
        """Have a value encrypted for this one place."""
        answer = self._asked(
            self._client.encrypt,
            KeyId=self._key,
            Plaintext=value.reveal(),
            EncryptionContext=_context(bound_to),
        )
        return _FORMAT + bytes(answer["CiphertextBlob"])

    def open(self, sealed: bytes, *bound_to: str | int | bytes) -> Secret:
        """Have it decrypted for the same place."""
        if sealed[:1] != _FORMAT or len(sealed) == 1:
            raise VaultRefused("A sealed value does not open.")
        answer = self._asked(
            self._client.decrypt,
            KeyId=self._key,
            CiphertextBlob=sealed[1:],
            EncryptionContext=_context(bound_to),
        )
        return Secret(answer["Plaintext"])

    def _asked(self, question: Any, **what: object) -> Any:
        try:
            return question(**what)
        except self._errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _DOES_NOT_OPEN:
                raise VaultRefused("A sealed value does not open.") from None
            kind = RootRefused if code in _NOT_ALLOWED else RootUnavailable
            raise kind(f"AWS KMS refuses the key `{self._key}` ({code}).") from None
        except self._errors.BotoCoreError as error:
            raise RootUnavailable(
                f"AWS KMS does not answer ({type(error).__name__}); what is leased goes on."
            ) from None


def _context(bound_to: tuple[str | int | bytes, ...]) -> dict[str, str]:
    purpose, *rest = bound_to
    context = {
        "tidegate-purpose": str(purpose),
        "tidegate-bound": hashlib.sha256(frame(*bound_to)).hexdigest(),
    }
    if rest and isinstance(rest[0], str):
        context["tidegate-client"] = rest[0]
    return context
