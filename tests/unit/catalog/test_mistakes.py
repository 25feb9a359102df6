"""Every mistake in a declaration is told with its place, and with what is right instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.catalog import ConfigErrors, load

GOOD = """\
version: 1
clients:
  acme: {}
  globex: {}
consumers:
  shop: {clients: [acme]}
providers:
  ledger:
    origin: https://api.ledger.test
    auth: bearer
    operations: [GET /v1/accounts, "GET /v1/accounts/{id}", POST /v1/transfers]
grants:
  - {consumer: shop, provider: ledger, operations: ["GET *"]}
"""
OPERATIONS = 'operations: [GET /v1/accounts, "GET /v1/accounts/{id}", POST /v1/transfers]'
SECRET = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
BOMB = "x: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"y{level}: &{'bcdefghi'[level]} [{','.join(['*' + 'abcdefgh'[level]] * 10)}]\n"
    for level in range(8)
)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def beside_auth(text: str) -> str:
    return changed("auth: bearer", f"auth: bearer\n    {text}")


# What is declared, where it is wrong, what is said of it, and what is said to be right.
MISTAKES: dict[str, tuple[str | bytes, str, str, str]] = {
    "nothing": ("", "1:1", "the file is empty", "begin with `version: 1`"),
    "a list": ("- a\n", "1:1", "a mapping, not a list", ""),
    "no version": (changed("version: 1\n", ""), "1:1", "`version` is missing", ""),
    "another version": (changed("version: 1", "version: 2"), "1:10", "this is `1`", ""),
    "unknown key": (GOOD + "consumer: {}\n", "14:1", "no key `consumer`", "`consumers`"),
    "unknown key within": (changed("auth:", "auths:"), "10:5", "no key `auths`", "`auth`"),
    "key twice": (GOOD + "clients: {}\n", "14:1", "`clients` stands here a second", "on line 2"),
    "client twice": (changed("globex", "acme"), "4:3", "`acme` stands here a second", "on line 3"),
    "alias bomb": (GOOD + BOMB, "19:30", "more than 1,000,000 values", ""),
    "tag": (changed("acme: {}", "acme: !!python/name:os.system {}"), "3:9", "YAML tags", "remove"),
    "merge key": (changed("acme: {}", "acme: {<<: {}}"), "3:10", "merge keys", "write the keys"),
    "two documents": (GOOD + "---\na: 1\n", "14:1", "a second document", ""),
    "open bracket": (changed("[acme]", "[acme"), "6:24", "not YAML", ""),
    "tab": (changed("  shop:", "\tshop:"), "6:1", "a tab", "spaces"),
    "not UTF-8": (GOOD.encode() + b"\xff", "14:1", "not UTF-8", ""),
    "NUL": (GOOD + "x: \0\n", "14:4", "a control character", ""),
    "nested deep": ("a: " + "[" * 100 + "]" * 100, "1:67", "deeper than 64", ""),
    "rate in words": (
        changed("acme: {}", "acme: {limit: 50 per second}"), "3:17", "so many calls", "`50/s`",
    ),
    "rate of none": (changed("acme: {}", "acme: {limit: 0/s}"), "3:17", "so many calls", "`50/s`"),
    "rate over years": (changed("acme: {}", "acme: {limit: 9/40d}"), "3:17", "31d at most", ""),
    "limit of nothing": (
        changed("acme: {}", "acme: {limit: {}}"), "3:17", "limits nothing", "`rate`",
    ),
    "burst without a rate": (
        changed("[acme]}", "[acme], limit: {concurrency: 2, burst: 3}}"), "6:34",
        "a part of a `rate`", "give the `rate`",
    ),
    "limit's key": (
        changed("acme: {}", "acme: {limit: {rat: 1/s}}"), "3:18", "no key `rat`", "`rate`",
    ),
    "a client's limit shared": (
        changed("acme: {}", "acme: {limit: {rate: 1/s, shared: true}}"), "3:9", "alone", "leave",
    ),
    "unknown client": (changed("[acme]", "[acne]"), "6:20", "no client `acne`", "`acme`"),
    "unknown consumer": (
        changed("consumer: shop", "consumer: shap"), "13:16", "no consumer `shap`", "`shop`",
    ),
    "unknown provider": (
        changed("provider: ledger", "provider: leger"), "13:32", "no provider `leger`", "`ledger`",
    ),
    "unknown preset": (
        changed(f"origin: https://api.ledger.test\n    auth: bearer\n    {OPERATIONS}", "preset: strip"),
        "9:13", "no preset `strip`", "`stripe`",
    ),
    "clients no list": (changed("[acme]", "acme"), "6:19", "a list of names, or `all`", "`[acme]`"),
    "no name": (changed("acme: {}", "Acme GmbH: {}"), "3:3", "is not a name", "`acme-gmbh`"),
    "name of other letters": (
        changed("acme: {}", "\u0430cme: {}"), "3:3", "U+0430 CYRILLIC SMALL LETTER A", "",
    ),
    "grant of nothing": (
        changed('["GET *"]', '["PUT *"]'), "13:53", "`PUT *` matches no operation", "lists them",
    ),
    "grant misspelt": (
        changed('["GET *"]', '["GET /v1/acounts"]'), "13:53", "matches no", "`GET /v1/accounts`",
    ),
    "grant for another's client": (
        changed('["GET *"]}', '["GET *"], clients: [globex]}'), "13:73", "does not act for", "add",
    ),
    "mode": (changed('["GET *"]}', '["GET *"], mode: warn}'), "13:69", "`enforce`, `report`", ""),
    "day": (
        changed('["GET *"]}', '["GET *"], mode: report, enforce_from: soon}'),
        "13:91", "not a date", "2027-01-31",
    ),
    "operations that overlap": (
        changed("GET /v1/accounts,", 'GET /v1/accounts, "GET /v1/accounts/{name}",'),
        "11:63", "overlaps `/v1/accounts/{name}`", "tell them apart",
    ),
    "operation twice": (
        changed("GET /v1/accounts,", "GET /v1/accounts, GET /v1/accounts,"),
        "11:36", "overlaps `/v1/accounts`", "",
    ),
    "method": (changed("POST /v1", "PSOT /v1"), "11:61", "not `METHOD /path`", "POST"),
    "relative path": (changed("POST /v1", "POST v1"), "11:61", "not start with `/`", ""),
    "path with dots": (changed("/v1/transfers", "/v1/../x"), "11:61", "dot segment", ""),
    "open brace": (changed("{id}", "{id"), "11:36", "braces do not pair", ""),
    "no operations": (changed(f"    {OPERATIONS}\n", ""), "8:3", "no operations", "`openapi`"),
    "plain origin": (changed("https:", "http:"), "9:13", "only for private", "`https://`"),
    "origin with a path": (changed("ledger.test", "ledger.test/v1"), "9:13", "no path", "`base_path`"),
    "origin written oddly": (changed("api.ledger.test", "127.1"), "9:13", "four decimal", ""),
    "private origin": (
        changed("api.ledger.test", "10.0.0.5"), "9:13", "address is private", "[10.0.0.5/32]",
    ),
    "form of authentication": (changed("bearer", "barer"), "10:11", "not `barer`", "`bearer`"),
    "token endpoint": (
        changed("bearer", "{oauth2: {grant: client_credentials, token_url: 'http://id.test/t'}}"),
        "10:59", "a token endpoint is `https://host/path`", "",
    ),
    "token endpoint with a query": (
        changed("bearer", "{oauth2: {grant: client_credentials, token_url: 'https://id.test/t?a=b'}}"),
        "10:59", "no query or fragment", "",
    ),
    "token endpoint with a variable nobody can name": (
        changed("bearer", "{oauth2: {grant: client_credentials, token_url: 'https://{Shop}.id.test/t'}}"),
        "10:59", "not a variable's name", "`shop`",
    ),
    "a rule for no variable of any address": (
        beside_auth("variables: {shop: {pattern: x}}"), "11:17", "no address has a variable", "none",
    ),
    "grant": (
        changed("bearer", "{oauth2: {grant: password, token_url: 'https://id.test/t'}}"),
        "10:28", "not `password`", "",
    ),
    "oauth2 beside another": (
        changed(
            "bearer",
            "[bearer, {oauth2: {grant: client_credentials, token_url: 'https://id.test/t'}}]",
        ),
        "10:11", "`oauth2` stands alone", "",
    ),
    "a parameter of ours": (
        changed(
            "bearer",
            "{oauth2: {grant: client_credentials, token_url: 'https://id.test/t', "
            "parameters: {scope: x}}}",
        ),
        "10:20", "`scope` is not for `parameters`", "",
    ),
    "header's name": (changed("bearer", "{header: 'X Key'}"), "10:20", "not a header's name", ""),
    "duration": (beside_auth("deadlines: {connect: fast}"), "11:26", "a duration is", "`500ms`"),
    "pin": (beside_auth("tls: {pins: [sha1/abc]}"), "11:18", "not a pin", "SHA-256"),
    "missing CA": (beside_auth("tls: {ca: nowhere.pem}"), "11:15", "No such file", ""),
    "verification off": (beside_auth("tls: {verify: false}"), "11:11", "no key `verify`", "`pins`"),
    "share": (beside_auth("bulkhead: {calls: 5, client_share: 0.5}"), "11:40", "of percent", "`50%`"),
    "more tries": (beside_auth("retry: {tries: 3}"), "11:20", "less than or equal to 2", ""),
    "status": (beside_auth("retry: {statuses: [200]}"), "11:24", "greater than or equal to 400", ""),
    "two places": (
        beside_auth("idempotency: {header: Key, query: key}"), "11:18", "one place", "keep `header`",
    ),
    "no keyed operation": (
        beside_auth("idempotency: {header: Key, operations: [PUT *]}"),
        "11:45", "`PUT *` matches no operation", "",
    ),
    "hedged writing": (
        beside_auth("hedge: {operations: [POST *]}"), "11:26", "does more than read", "only GET",
    ),
    "a stranger stands in": (
        beside_auth("failover: [https://api.ledger.test, https://b.ledger.test]"),
        "11:41", "no origin of this provider", "",
    ),
    "one stands in": (
        beside_auth("failover: [https://api.ledger.test]"), "11:15", "stands for no other", "",
    ),
    "deadlines of nothing": (
        beside_auth("deadlines: {operations: [{operations: [DELETE *], total: 1s}]}"),
        "11:44", "`DELETE *` matches no operation", "",
    ),
    "range": (beside_auth("allow_private: [10.0.0.1/8]"), "11:21", "bits set", "`10.0.0.0/8`"),
    "range no list": (beside_auth("allow_private: yes"), "11:20", "a list should stand", ""),
    "secret": (beside_auth(f"headers: {{X-Key: {SECRET}}}"), "11:22", "looks like", "`tidegate connect`"),
    "missing document": (changed(OPERATIONS, "openapi: gone.yaml"), "11:14", "No such file", ""),
    "plain document": (changed(OPERATIONS, "openapi: http://x.test/o"), "11:14", "`https://` URL", ""),
    "missing include": (GOOD + "include: [more.yaml]\n", "14:11", "no file is called", ""),
    "circle": (GOOD + "include: [tidegate.yaml]\n", "14:11", "includes itself", ""),
    "include above": (GOOD + "include: [../x.yaml]\n", "14:11", "below the first file's", ""),
    "listener": (
        GOOD + "gateway: {listen: [{bind: localhost}]}\n", "14:27", "not `address:port`", "like",
    ),
}  # fmt: skip


def mistakes_in(folder: Path, text: str | bytes) -> list[str]:
    file = folder / "tidegate.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigErrors) as wrong:
        load(file)
    return [str(error) for error in wrong.value.errors]


def test_what_the_mistakes_are_made_of_is_right(tmp_path: Path):
    (tmp_path / "tidegate.yaml").write_text(GOOD)
    assert len(load(tmp_path / "tidegate.yaml").providers[0].operations) == 3


@pytest.mark.parametrize(("text", "place", "said", "right"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_says_where_what_and_what_instead(
    tmp_path: Path, text: str | bytes, place: str, said: str, right: str
):
    first = mistakes_in(tmp_path, text)[0]
    head, _, hint = first.partition("\n")
    assert f"tidegate.yaml:{place}: " in head
    assert said in head
    assert right in hint
    assert SECRET not in first


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    text = (
        changed("auth:", "auht:")
        .replace("[acme]", "[acne]")
        .replace("consumer: shop", "consumer: x")
    )
    found = mistakes_in(tmp_path, text)
    assert [line.split(":")[1] for line in found] == ["6", "10", "13"]


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "grants.yaml").write_text(
        "grants:\n  - {consumer: shop, provider: leger, operations: [x]}\n"
    )
    found = mistakes_in(tmp_path, GOOD + "include: [parts/grants.yaml]\n")
    assert "parts/grants.yaml:2:32: there is no provider `leger`" in found[0]
