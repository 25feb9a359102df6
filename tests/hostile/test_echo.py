"""A provider that shows the credential it was sent: no consumer gets to see it."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, quote_plus

import httpx
import pytest
from support.canaries import plant
from support.running import Running, running, wait_until
from support.scripted import Wire, scripted

from tidegate.domain.call import CallRecord
from tidegate.sandbox import Authority

SECRET = 'live/a+b="c\\d"&<e>'
"""With what every escape writes in another way."""

ACCOUNT = "account_of_acme"
BROTLI = base64.b64decode("GyMAoEQHh+SDSRDIIUquVYIoFRnfWtKOyQXt4gE=")
"""The secret, twice; Python has no encoder of its own."""

PAIR = f"{ACCOUNT}:{SECRET}".encode()
ESCAPED = SECRET.replace("\\", "\\\\").replace('"', '\\"')
FORMS = {
    "as it is": SECRET,
    "in an URL": f"https://x.test/?key={quote(SECRET, safe='')}&x=1",
    "in a path": quote(SECRET),
    "in small letters": quote(SECRET, safe="").lower(),
    "in a form": quote_plus(SECRET),
    "in JSON": json.dumps({"key": SECRET}),
    "in JSON with its slashes escaped": json.dumps({"key": SECRET}).replace("/", "\\/"),
    "in JSON fit for HTML": "".join(
        f"\\u{ord(letter):04x}" if letter in "<>&=+" else letter for letter in ESCAPED
    ),
    "in base64": base64.b64encode(SECRET.encode()).decode(),
    "in base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    "in the header field it came in": base64.b64encode(PAIR).decode(),
}


class Provider:
    """Answers each path with the bytes that a test has put there."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.pieces: list[bytes] = []
        self.head = b""

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                self.head = head
                name = head.split()[1].decode().strip("/")
                if name == "pieces":
                    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for piece in self.pieces:
                        wire.send_chunk(piece)
                        time.sleep(0.005)
                    wire.send(b"0\r\n\r\n")
                else:
                    wire.send(self.answers[name])

    def has(self, body: bytes, *fields: str) -> None:
        lines = [f"Content-Length: {len(body)}", *fields]
        self.answers["x"] = (
            b"HTTP/1.1 200 OK\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        )


class Front:
    """Two declarations of one provider: one strikes out, one refuses."""

    def __init__(self, gateway: Running, provider: Provider) -> None:
        self.gateway = gateway
        self.provider = provider
        self.headers = {"Tidegate-Token": gateway.token("app", "acme")}

    def get(self, provider: str = "redacts", path: str = "x", **headers: str) -> httpx.Response:
        return httpx.get(
            f"{self.gateway.url}/{provider}/{path}",
            headers=self.headers | headers,
            trust_env=False,
            timeout=20,
        )

    def cut_off(self, provider: str) -> httpx.Response:
        """Call, and see the answer broken off; gives what came."""
        url = f"{self.gateway.url}/{provider}/pieces"
        with httpx.stream("GET", url, headers=self.headers, trust_env=False) as answer:
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
            return answer

    def detail(self, answer: httpx.Response) -> str:
        """What the record says of the call."""
        call = answer.headers["tidegate-call"]
        found: list[CallRecord] = []

        def recorded() -> bool:
            found[:] = [one for one in self.gateway.records(1) if one.id == call]
            return bool(found)

        wait_until(recorded)
        return found[0].detail or ""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder, authority, provider = tmp_path_factory.mktemp("echo"), Authority(), Provider()
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    plant(SECRET)
    with scripted(authority, provider) as origin:
        entry = f"""
    origin: {origin}
    auth: basic
    operations: ["GET /{{name}}", "HEAD /{{name}}"]
    allow_private: [127.0.0.0/8]
    bounds: {{response_body: 1MiB}}
    tls: {{ca: {ca}}}"""
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  redacts:{entry}
  refuses:{entry}
    echo: refuse
grants:
  - {{consumer: app, provider: redacts, operations: ["*"]}}
  - {{consumer: app, provider: refuses, operations: ["*"]}}
"""
        fields = {"username": ACCOUNT, "password": SECRET}
        keys = {(name, "acme"): fields for name in ("redacts", "refuses")}
        with running(folder / "home", declared, keys) as gateway:
            yield Front(gateway, provider)


def everything(answer: httpx.Response) -> str:
    return answer.text + "".join(f"{name}: {value}" for name, value in answer.headers.items())


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_struck_out_of_the_body(front: Front, form: str):
    front.provider.has(f"before {form} after".encode())
    answer = front.get()
    assert answer.status_code == 200
    assert answer.text.startswith("before ")
    assert answer.text.endswith(" after")
    assert len(answer.text) == len(f"before {form} after")
    assert form not in answer.text
    assert "********" in answer.text


@pytest.mark.parametrize("form", [*FORMS.values()][:5], ids=[*FORMS][:5])
def test_every_form_is_struck_out_of_header_fields(front: Front, form: str):
    front.provider.has(b"ok", f"X-Debug: got {form}", "X-Other: stays")
    answer = front.get()
    assert form not in everything(answer)
    assert answer.headers["x-other"] == "stays"
    assert answer.text == "ok"


@pytest.mark.parametrize("size", [1, 2, 7, 19])
def test_pieces_are_put_together(front: Front, size: int):
    text = f"data: {SECRET}\n\ndata: {SECRET[:-1]}\n\ndata: {SECRET}{SECRET}\n\n".encode()
    front.provider.pieces = [text[at : at + size] for at in range(0, len(text), size)]
    struck = "*" * len(SECRET)
    expected = f"data: {struck}\n\ndata: {SECRET[:-1]}\n\ndata: {struck}{struck}\n\n"
    assert front.get(path="pieces").text == expected


def test_what_says_whose_credential_it_is_passes(front: Front):
    front.provider.has(f'{{"account": "{ACCOUNT}"}}'.encode())
    assert front.get().json() == {"account": ACCOUNT}


@pytest.mark.parametrize("provider", ["redacts", "refuses"])
@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(f"{'x' * 100_000}{SECRET}".encode())), ("br", BROTLI)],
    ids=["gzip", "br"],
)
def test_an_encoded_body_that_holds_it_is_refused(
    front: Front, provider: str, coding: str, body: bytes
):
    front.provider.has(body, f"Content-Encoding: {coding}")
    answer = front.get(provider)
    assert (answer.status_code, answer.json()["code"]) == (502, "response_rejected")
    assert "credential_echoed: field `password`, refused" in front.detail(answer)


def test_an_encoded_body_without_it_passes_as_it_is(front: Front):
    body = gzip.compress(b"clean " * 10_000)
    front.provider.has(body, "Content-Encoding: gzip", 'ETag: "1"')
    answer = front.get(**{"Accept-Encoding": "zstd, gzip;q=0.9, deflate"})
    assert answer.content == b"clean " * 10_000
    assert answer.headers["content-length"] == str(len(body))
    assert b"accept-encoding: gzip;q=0.9\r\n" in front.provider.head.lower()


def test_an_encoded_body_that_is_small_on_the_way_alone_is_refused(front: Front):
    front.provider.has(gzip.compress(bytes(4 << 20)), "Content-Encoding: gzip")
    assert "larger than its bound" in front.detail(front.get())


@pytest.mark.parametrize("coding", ["zstd", "deflate", "gzip, gzip", "nonsense"])
def test_codings_that_cannot_be_looked_into_are_refused(front: Front, coding: str):
    front.provider.has(b"whatever", f"Content-Encoding: {coding}")
    answer = front.get()
    assert (answer.status_code, answer.json()["code"]) == (502, "response_rejected")


def test_a_provider_may_be_declared_to_be_refused(front: Front):
    front.provider.has(b"ok", f"X-Debug: {SECRET}")
    answer = front.get("refuses")
    assert (answer.status_code, answer.json()["code"]) == (502, "response_rejected")
    assert SECRET not in everything(answer)
    front.provider.has(f"before {SECRET} after".encode())
    assert front.get("refuses").status_code == 502


def test_an_answer_that_has_begun_is_cut(front: Front):
    front.provider.pieces = [b"before ", *[b"more "] * 60, SECRET.encode(), b" after"]
    answer = front.cut_off("refuses")
    assert front.detail(answer) == "credential_echoed: field `password`, refused"


def test_the_record_names_the_field_and_nothing_of_it(front: Front):
    front.provider.has(SECRET.encode())
    assert front.detail(front.get()) == "credential_echoed: field `password`, struck out"
