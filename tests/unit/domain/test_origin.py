"""What is an origin, and what only looks like one."""

from __future__ import annotations

import pytest

from tidegate.domain.origin import Origin


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://API.provider.test/", "https://api.provider.test"),
        ("https://api.provider.test:443", "https://api.provider.test"),
        ("https://api.provider.test:8443", "https://api.provider.test:8443"),
        ("https://bücher.test", "https://xn--bcher-kva.test"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1"),
        ("https://bu\u0308cher.test", "https://xn--bcher-kva.test"),
        ("https://BÜCHER.test", "https://xn--bcher-kva.test"),
        ("https://xn--fa-hia.test", "https://xn--fa-hia.test"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ("https://[0:0:0:0:0:0:0:1]:443", "https://[::1]"),
        ("https://1password.test", "https://1password.test"),
        ("https://v2.0x.test", "https://v2.0x.test"),
    ],
)
def test_an_origin_is_written_one_way(text: str, written: str):
    assert str(Origin.parse(text)) == written


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("ftp://api.provider.test", "starts with"),
        ("https://api.provider.test/v1", "no path"),
        ("https://api.provider.test?", "no path"),
        ("https://user@api.provider.test", "no user"),
        ("https://api.provider.test:0", "port"),
        ("https://api.provider.test:65536", "port"),
        ("https://[fe80::1%25eth0]", "zone"),
        ("https://[::1%lo]", "zone"),
        ("https://[::1]extra", "brackets"),
        ("https://[v1.a:b]", "brackets"),
        ("https://[127.0.0.1]", "neither"),
        ("https://[::1", "neither"),
        ("https://\u2100.test", "neither"),
        ("https://api.provider.test:", "port"),
        ("https://api..test", "not a host name"),
        ("https://api.provider.test.", "not a host name"),
        ("https://evil.test\\.provider.test", "not a host name"),
        ("https://api.provider.te\tst", "invisible"),
        ("https://api.provider.test\n", "invisible"),
        ("https://api.pro\u200dvider.test", "invisible"),
        (" https://api.provider.test", "invisible"),
        ("https://faß.test", "xn--"),
        ("https://①②⑦.0.0.1", "xn--"),
        ("https://127。0。0。1", "xn--"),
        ("https://\uff1127.0.0.1", "xn--"),
        *((f"https://{host}", "four decimal") for host in (
            "127.1", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "0177.0.0.1", "0x",
            "1.2.3.4.5", "256.1.1.1", "api.provider.1", "127.0.0.1.",
        )),
    ],
)  # fmt: skip
def test_what_is_no_origin_says_why(text: str, wrong: str):
    with pytest.raises(ValueError, match=wrong):
        Origin.parse(text)
