"""What a declaration takes for an origin the engine takes too, and reads as the same place."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st
from support.declared import DECLARATION, STRIPE, connection, token

from tidegate.domain.origin import Origin
from tidegate.engine import ExplainRequest, explain
from tidegate.snapshot import compile_snapshot

HOSTS = st.one_of(
    st.text(st.sampled_from("aZ0x17.-_:@[]%/\\?#ßü\t\u200d。①"), max_size=20),
    st.from_regex(r"\[[0-9a-fA-F:.v%]{1,20}\]x?", fullmatch=True),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]"),
    st.text(max_size=12),
)


@given(st.sampled_from(["https", "HTTPS", "http"]), HOSTS, st.sampled_from(["", ":8443", ":", "/"]))
@example("https", "[v1.a:b]", "")
@example("https", "[::1]x", "")
@example("https", "127.1", "")
@example("https", "0x7f.1", "")
@example("https", "api.test.", "")
def test_an_origin_of_the_declaration_is_one_for_the_engine(scheme: str, host: str, after: str):
    try:
        origin = Origin.parse(f"{scheme}://{host}{after}")
    except ValueError:
        return
    assert Origin.parse(str(origin)) == origin
    assert Origin.parse(where_the_engine_goes(str(origin))) == origin


def where_the_engine_goes(origin: str) -> str:
    """The origin that a call would be sent to, of a provider that is declared to be at `origin`."""
    declared = replace(DECLARATION, providers=(replace(STRIPE, origins=(origin,)),))
    snapshot = compile_snapshot(declared, 1, [token()], [connection(origins=(origin,))])
    request = ExplainRequest("shop", "GET", "/stripe/v1/charges", client="acme")
    explained = explain(snapshot, request)
    assert explained.allowed, explained
    assert explained.origin is not None
    return explained.origin
