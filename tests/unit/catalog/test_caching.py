"""`cache` in a declaration becomes each operation's rules, or the mistake is told where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.catalog import ConfigErrors, load
from tidegate.domain.caching import Caching

DECLARED = """\
version: 1
clients: {{acme: {{}}}}
consumers: {{shop: {{clients: [acme]}}}}
providers:
  api:
    origin: https://api.test
    auth: none
    operations: {{List: GET /items, Item: "GET /items/{{id}}", Ask: POST /graphql, Put: "PUT /items/{{id}}"}}
    cache: {cache}
grants: [{{consumer: shop, provider: api, operations: ["*"]}}]
"""


def caching(folder: Path, cache: str) -> Caching:
    file = folder / "tidegate.yaml"
    file.write_text(DECLARED.format(cache=cache))
    (provider,) = load(file).providers
    assert provider.cache is not None
    return provider.cache


def test_rules_hold_for_all_operations_and_differ_where_that_is_said(tmp_path: Path):
    found = caching(
        tmp_path,
        "{stale_if_error: 10m, ignore: [utm], operations: "
        "{Item: {mode: off}, 'GET *': {ttl: 1m}, Ask: {read_only: true, body: graphql}}}",
    )
    listed, item, ask, put = (found.rules[number] for number in found.of)
    assert (listed.mode, listed.ttl_ms, listed.stale_if_error_ms) == ("principal", 60_000, 600_000)
    assert item.mode == "off"
    assert (ask.read_only, ask.body, ask.ignore) == (True, "graphql", ("utm",))
    assert (put.read_only, put.ttl_ms) == (False, 0)
    assert len(found.rules) == 4


def test_equal_rules_are_kept_once(tmp_path: Path):
    assert caching(tmp_path, "{}").of == (0, 0, 0, 0)
    assert len(caching(tmp_path, "{ttl: 1m, operations: {Item: {ttl: 1m}}}").rules) == 1


@pytest.mark.parametrize(
    ("cache", "said", "hint"),
    [
        ("{read_only: true}", "`read_only` holds for operations that are named", "operations"),
        ("{operations: {Itm: {ttl: 1m}}}", "no operation is called `Itm`", "`Item`"),
        ("{operations: {Put: {read_only: true}}}", "`PUT` is never `read_only`", "only a POST"),
        ("{operations: {Ask: {body: json}}}", "nothing is stored of `Ask`", "`read_only: true`"),
        ("{mode: public, private: true}", "`private` answers are not shared", "`mode: principal`"),
        ("{unkeyed: [X-Trace]}", "`unkeyed` is for shared answers", "`mode: public`"),
        ("{mode: shared}", "this is one of `off`, `principal`, `credential`, `public`", ""),
        ("{tll: 1m}", "there is no key `tll` here", "`ttl`"),
        ("{ttl: forever}", "a duration is a whole number", ""),
        ("{targeted: ['a b']}", "a b", ""),
    ],
)
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, cache: str, said: str, hint: str):
    with pytest.raises(ConfigErrors) as wrong:
        caching(tmp_path, cache)
    first = str(wrong.value.errors[0])
    assert first.startswith(f"{tmp_path}/tidegate.yaml:9:")
    assert said in first.partition("\n")[0]
    assert hint in first
