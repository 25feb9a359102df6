"""The ways in which a sandbox can be told to misbehave, and their one text form.

`slow:2` waits before the first byte, `trickle:0.1` before each byte; `fail:503` answers with a
status; `redirect:same|other|downgrade|URL` sends elsewhere; `echo` returns what was received, the
credential included; `mirror` gives a body back as it came; `cut:10` ends the connection after so many
bytes of the body; `big:1000000` answers with so many bytes; `sse:5` with so many events, `sse:5@0.1` one
each tenth of a second.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

SECONDS_MAX = 3_600.0
EVENTS_MAX = 100_000
BYTES_MAX = 64 * 1024**3


@dataclass(frozen=True, slots=True)
class Slow:
    """Wait before the first byte of the answer."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Trickle:
    """Answer one byte at a time, so many seconds apart."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer with this status."""

    status: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send elsewhere: `same` origin, an `other` one, the same one without TLS, or a URL."""

    where: str


@dataclass(frozen=True, slots=True)
class Echo:
    """Return what was received, the credential included."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Give the body back as it came, as who keeps what is sent does."""


@dataclass(frozen=True, slots=True)
class Cut:
    """End the connection after so many bytes of the body."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Big:
    """Answer with so many bytes."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Sse:
    """Answer with so many server-sent events."""

    events: int
    every_s: float = 0.2


Misbehaviour = Slow | Trickle | Fail | Redirect | Echo | Mirror | Cut | Big | Sse


@dataclass(frozen=True, slots=True)
class Rule:
    """Misbehave so on these paths; `*` stands for any text, `METHOD ` may stand before."""

    calls: str
    misbehaviour: Misbehaviour

    def covers(self, method: str, path: str) -> bool:
        """Say whether a call falls under the rule."""
        named, space, pattern = self.calls.partition(" ")
        if not space:
            named, pattern = "*", self.calls
        return named in {"*", method} and fnmatch.fnmatchcase(path, pattern)


def parse(text: str) -> Misbehaviour:
    """Read one misbehaviour.

    Raises:
        ValueError: with a sentence that says what may stand there.
    """
    name, _, argument = text.strip().partition(":")
    reader = _READERS.get(name)
    if reader is None:
        raise ValueError(f"`{name}` is no misbehaviour; there is {', '.join(_READERS)}")
    return reader(argument)


def parse_rule(text: str) -> Rule:
    """Read `PATH=MISBEHAVIOUR`, such as `GET /v1/charges*=fail:503`.

    Raises:
        ValueError: with a sentence that says what may stand there.
    """
    calls, equals, misbehaviour = text.partition("=")
    if not equals or "/" not in calls:
        raise ValueError("a rule is `PATH=MISBEHAVIOUR`, such as `/v1/charges*=fail:503`")
    return Rule(calls.strip(), parse(misbehaviour))


def _redirect(argument: str) -> Redirect:
    if argument in {"same", "other", "downgrade"} or argument.startswith(("https://", "http://")):
        return Redirect(argument)
    raise ValueError("redirect to `same`, `other`, `downgrade` or a URL")


def _echo(argument: str) -> Echo:
    if argument:
        raise ValueError("`echo` takes nothing after it")
    return Echo()


def _mirror(argument: str) -> Mirror:
    if argument:
        raise ValueError("`mirror` takes nothing after it")
    return Mirror()


def _sse(argument: str) -> Sse:
    events, at, every = argument.partition("@")
    count = _whole(events or "5", EVENTS_MAX)
    return Sse(count, _seconds(every)) if at else Sse(count)


def _status(argument: str) -> int:
    status = _whole(argument or "500", 599)
    if status < 400:  # noqa: PLR2004
        raise ValueError("fail with a status from 400 to 599")
    return status


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= SECONDS_MAX:
        raise ValueError(f"name seconds from 0 to {SECONDS_MAX:.0f}, such as `2` or `0.1`")
    return seconds


def _whole(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:20]) > most:
        raise ValueError(f"name a whole number up to {most}")
    return int(text)


_READERS: dict[str, Callable[[str], Misbehaviour]] = {
    "slow": lambda text: Slow(_seconds(text)),
    "trickle": lambda text: Trickle(_seconds(text)),
    "fail": lambda text: Fail(_status(text)),
    "redirect": _redirect,
    "echo": _echo,
    "mirror": _mirror,
    "cut": lambda text: Cut(_whole(text or "0", BYTES_MAX)),
    "big": lambda text: Big(_whole(text, BYTES_MAX)),
    "sse": _sse,
}
