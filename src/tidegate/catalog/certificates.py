"""Read a file of authorities, which replace the public roots for whoever names it."""

from __future__ import annotations

from pathlib import Path

from tidegate.catalog.documents import read_bounded

_PEM_BYTES_MAX = 1024**2


class WrongCertificatesError(Exception):
    """A file that holds no certificates, or more than that; `hint` says what would do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def read_certificates(path: Path) -> str:
    """Return a file's certificates in PEM.

    Raises:
        WrongCertificatesError: it cannot be read, holds none, or holds a private key.
    """
    from cryptography import x509

    try:
        pem = read_bounded(path, _PEM_BYTES_MAX)
        x509.load_pem_x509_certificates(pem)
        text = pem.decode("ascii")
    except OSError as error:
        reason = error.strerror or str(error)
        raise WrongCertificatesError(f"the file cannot be read: {reason}") from None
    except ValueError:
        raise WrongCertificatesError("the file holds no PEM certificates") from None
    if "PRIVATE KEY" in text:
        raise WrongCertificatesError(
            "the file holds a private key", "keep certificates alone in it"
        )
    return text
