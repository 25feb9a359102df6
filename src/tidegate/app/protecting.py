"""Try a policy on a sample of a request, and say which operations have one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from tidegate.app.explaining import request_for
from tidegate.catalog import OperationTable
from tidegate.catalog.protection import Policies
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.protection import Protection
from tidegate.engine.protect import Sample, TriedSample, try_sample
from tidegate.snapshot import compile_snapshot

_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")


class NotASampleError(ValueError):
    """A text that is no request; `hint` says what one looks like."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Protected:
    """An operation, and the policy that it has."""

    provider: Provider
    operation: Operation
    policy: Protection | None
    granted: bool
    """Whether a grant reaches it."""


def tried(declaration: Declaration, sample: Sample) -> TriedSample:
    """Try a sample on what is declared. Nothing is sent, and no connection is needed."""
    return try_sample(compile_snapshot(declaration, 1, (), ()), sample)


def read_sample(declaration: Declaration, message: bytes) -> Sample:
    """Read a request in HTTP/1.1's form: `METHOD URL`, header fields, an empty line, the body.

    The URL is the provider's own or one of the gateway. What ends the last line of a body is not taken
    for a part of it, unless the header has a `Content-Length`.

    Raises:
        NotASampleError: it is none.
    """
    head, body = _parted(message)
    lines = head.split("\n")
    words = lines[0].split()
    if len(words) not in {2, 3}:
        raise NotASampleError(
            "the first line is not `METHOD URL`", "like `POST https://api.example.com/v1/people`"
        )
    headers = tuple(_field(line) for line in lines[1:] if line)
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    body = body[: int(lengths[0])] if lengths and lengths[0].isdecimal() else body.rstrip(b"\r\n")
    return _at(declaration, Sample(words[0].upper(), words[1], "", headers, body))


def sample_of(declaration: Declaration, operation: str, body: bytes, media_type: str) -> Sample:
    """Make a sample of an operation's body alone; `operation` is `PROVIDER:OPERATION`.

    Raises:
        NotASampleError: there is no such operation.
    """
    name, _, pattern = operation.partition(":")
    provider = next((one for one in declaration.providers if one.name == name), None)
    if provider is None:
        raise NotASampleError(f"there is no provider `{name}`", "`tidegate providers` lists them")
    numbers = OperationTable(provider.operations).matching(pattern.strip())
    if len(numbers) != 1:
        found = "no operation is" if not numbers else f"{len(numbers):,} operations are"
        raise NotASampleError(
            f"{found} called `{pattern}`", f"`tidegate operations {name}` lists them"
        )
    one = provider.operations[numbers[0]]
    headers = (("content-type", media_type),) if body else ()
    return Sample(one.method, f"/{name}{one.path}", "", headers, body, one.id)


def protected(declaration: Declaration, only: str | None = None) -> Iterator[Protected]:
    """Every operation with its policy, of one provider or of all."""
    policies = Policies(declaration)
    for provider in declaration.providers:
        if only is not None and provider.name != only:
            continue
        table = OperationTable(provider.operations)
        granted = {
            number
            for grant in declaration.grants
            if grant.provider == provider.name
            for pattern in grant.operations
            for number in table.matching(pattern)
        }
        by_number = policies.of(provider)
        for number, operation in enumerate(provider.operations):
            yield Protected(provider, operation, by_number.get(number), number in granted)


def _parted(message: bytes) -> tuple[str, bytes]:
    head, *rest = _END_OF_HEAD.split(message.lstrip(b"\r\n"), maxsplit=1)
    try:
        return head.decode().replace("\r\n", "\n"), rest[0] if rest else b""
    except UnicodeDecodeError:
        raise NotASampleError("the header is not UTF-8") from None


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise NotASampleError(
            "a header field is not `Name: value`", "an empty line ends the header"
        )
    return name.lower(), value.strip()


def _at(declaration: Declaration, sample: Sample) -> Sample:
    host = next((value for name, value in sample.headers if name == "host"), "")
    url = sample.target
    if url.startswith("/") and host and _is_providers(declaration, host):
        url = f"https://{host}{url}"
    request = request_for(declaration, "", sample.method, url, client=None, connection=None)
    return replace(sample, target=request.target, host=request.host or host)


def _is_providers(declaration: Declaration, host: str) -> bool:
    origins = (origin for provider in declaration.providers for origin in provider.origins)
    return f"https://{host}" in origins
