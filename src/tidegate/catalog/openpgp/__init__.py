"""Reads OpenPGP certificates (RFC 9580), as far as it takes to encrypt files to one, and judges them."""

from tidegate.catalog.openpgp.certificate import WrongCertificateError, read_certificate

__all__ = ["WrongCertificateError", "read_certificate"]
