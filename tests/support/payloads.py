"""Five hundred made-up values of persons and firms, and requests of every form that carry them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

COUNT = 500
_SYLLABLES = (
    "bra",
    "cel",
    "dor",
    "fen",
    "gim",
    "hul",
    "jor",
    "kaz",
    "lum",
    "mev",
    "nyx",
    "pol",
    "quo",
    "zan",
)
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


def planted() -> list[str]:
    """Distinct values of every kind, in turn."""
    chance = secrets.SystemRandom()
    kinds = (_email, _phone, _pan, _iban, _secret, _national_id, _name)
    made = dict[str, None]()
    while len(made) < COUNT:
        made[kinds[len(made) % len(kinds)](chance)] = None
    return list(made)


def _word(chance: secrets.SystemRandom) -> str:
    return "".join(chance.choices(_SYLLABLES, k=4))


def _digits(chance: secrets.SystemRandom, count: int) -> str:
    return "".join(chance.choices("0123456789", k=count))


def _email(chance: secrets.SystemRandom) -> str:
    return f"{_word(chance)}.{_digits(chance, 4)}@{_word(chance)}.example"


def _phone(chance: secrets.SystemRandom) -> str:
    return f"+49 {_digits(chance, 3)} {_digits(chance, 8)}"


def _pan(chance: secrets.SystemRandom) -> str:
    body = f"4{_digits(chance, 14)}"
    doubled = (int(digit) * (1 + (at + 1) % 2) for at, digit in enumerate(body))
    return f"{body}{-sum(sum(divmod(one, 10)) for one in doubled) % 10}"


def _iban(chance: secrets.SystemRandom) -> str:
    body = _digits(chance, 18)
    return f"DE{98 - int(f'{body}131400') % 97:02}{body}"


def _secret(chance: secrets.SystemRandom) -> str:
    return f"sk_live_{''.join(chance.choices(_ALPHABET, k=28))}"


def _national_id(chance: secrets.SystemRandom) -> str:
    return f"{_digits(chance, 2)} {_digits(chance, 6)} {chance.choice('ABCDEFGH')} {_digits(chance, 3)}"


def _name(chance: secrets.SystemRandom) -> str:
    return f"{_word(chance).title()} Ö{_word(chance)}"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request: where it goes below a provider, and what it carries."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def requests(values: list[str], operation: str) -> Iterator[Sent]:
    """Requests to `/OPERATION`, each of another form, with some values each; every value is in one."""
    forms = (_json, _form, _parts, _table, _graphql, _address, _head)
    for number, at in enumerate(range(0, len(values), 8)):
        yield forms[number % len(forms)](f"/{operation}", values[at : at + 8])


def _json(path: str, some: list[str]) -> Sent:
    body = {"email": some[0], "deep": [{"note": one} for one in some[1:]]}
    return Sent("POST", path, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _form(path: str, some: list[str]) -> Sent:
    body = urlencode([("email", some[0]), *(("note", one) for one in some[1:])])
    return Sent("POST", path, {"Content-Type": "application/x-www-form-urlencoded"}, body.encode())


def _parts(path: str, some: list[str]) -> Sent:
    names = ("email", *("note" for _ in some[1:]))
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{one}\r\n'
        for name, one in zip(names, some, strict=True)
    )
    body = f"{''.join(parts)}--b--\r\n"
    return Sent("POST", path, {"Content-Type": "multipart/form-data; boundary=b"}, body.encode())


def _table(path: str, some: list[str]) -> Sent:
    rows = "".join(f"{one},{some[-1]}\r\n" for one in some[:-1])
    return Sent("POST", path, {"Content-Type": "text/csv"}, f"email,note\r\n{rows}".encode())


def _graphql(path: str, some: list[str]) -> Sent:
    body = {
        "query": f"mutation M($email: String) {{ put(email: $email, note: {json.dumps(some[1])}) {{ id }} }}",
        "variables": {"email": some[0], "more": some[2:]},
    }
    return Sent("POST", path, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _address(path: str, some: list[str]) -> Sent:
    query = urlencode([("email", some[1]), *(("note", one) for one in some[2:])])
    return Sent("GET", f"{path}/{quote(some[0], safe='')}?{query}", {}, b"")


def _head(path: str, some: list[str]) -> Sent:
    names = ("X-Email", *(f"X-Note-{number}" for number in range(len(some) - 1)))
    headers = {
        name: quote(one) if not one.isascii() else one
        for name, one in zip(names, some, strict=True)
    }
    return Sent("GET", f"{path}/1", headers, b"")
