"""OpenAPI and Swagger documents become the operations that they describe, and no others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog import Api, ConfigErrors, read_document, read_operations

HEAD = "openapi: 3.1.0\ninfo: {title: T, version: '1'}\n"
SERVED = HEAD + "servers: [{url: https://api.x.test/v2}]\n"


def api(text: str, **options: object) -> Api:
    return read_operations(read_document(text.encode(), "api.yaml"), **options)  # type: ignore[arg-type]


def operations(text: str, **options: object) -> dict[str, tuple[str, str, int]]:
    return {o.id: (o.method, o.path, o.origin) for o in api(text, **options).operations}


def test_a_server_gives_origin_and_base_path():
    text = SERVED + "paths: {'/a/{id}': {get: {operationId: GetA}, delete: {}}}"
    assert api(text).origins == ("https://api.x.test",)
    assert operations(text) == {
        "GetA": ("GET", "/v2/a/{id}", 0),
        "DELETE /v2/a/{id}": ("DELETE", "/v2/a/{id}", 0),
    }


def test_servers_of_a_path_and_of_an_operation_go_before_the_documents():
    text = (
        SERVED
        + """
paths:
  /a:
    servers: [{url: https://files.x.test}]
    get: {operationId: A}
    put: {operationId: B, servers: [{url: https://up.x.test/w}]}
  /c: {get: {operationId: C}}
"""
    )
    assert api(text).origins == ("https://api.x.test", "https://files.x.test", "https://up.x.test")
    assert operations(text) == {
        "A": ("GET", "/a", 1), "B": ("PUT", "/w/a", 2), "C": ("GET", "/v2/c", 0),
    }  # fmt: skip


def test_a_declared_origin_serves_everything_whatever_the_document_says():
    text = SERVED + "paths: {/a: {get: {operationId: A}}}"
    found = api(text, origins=("https://proxy.x.test",))
    assert found.origins == ("https://proxy.x.test",)


def test_of_several_declared_origins_the_document_may_use_only_those():
    text = SERVED + "paths: {/a: {get: {operationId: A}}}"
    with pytest.raises(ConfigErrors, match="no origin of the provider"):
        api(text, origins=("https://a.x.test", "https://b.x.test"))


def test_a_relative_server_belongs_to_where_the_document_came_from():
    text = HEAD + "servers: [{url: /v3}]\npaths: {/a: {get: {operationId: A}}}"
    found = api(text, url="https://docs.x.test/openapi.yaml")
    assert (found.origins, found.operations[0].path) == (("https://docs.x.test",), "/v3/a")


def test_a_servers_variables_are_filled_by_their_defaults_or_left_to_connections():
    text = (
        HEAD
        + """
servers: [{url: "https://{shop}.x.test/{v}", variables: {shop: {default: demo}, v: {default: v1}}}]
paths: {/a: {get: {operationId: A}}}
"""
    )
    assert api(text).origins == ("https://demo.x.test",)
    assert api(text, variables=("shop",)).origins == ("https://{shop}.x.test",)


def test_swagger_names_host_base_path_and_schemes():
    text = """
swagger: "2.0"
info: {title: S, version: "1"}
host: api.s.test
basePath: /v1/
schemes: [http, https]
paths: {/a: {get: {operationId: A}}}
"""
    assert (api(text).origins, operations(text)) == (
        ("https://api.s.test",), {"A": ("GET", "/v1/a", 0)},
    )  # fmt: skip


def test_a_reference_within_the_document_is_followed():
    text = (
        SERVED
        + """
paths: {/a~b: {$ref: "#/components/pathItems/It~1s"}}
components: {pathItems: {It/s: {get: {operationId: A}}}}
"""
    )
    assert operations(text) == {"A": ("GET", "/v2/a~b", 0)}


@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.test/x.yaml",
        "file:///etc/passwd",
        "other.yaml#/a",
        "#/nowhere",
        "#",
        "//evil.test",
    ],
)
def test_a_reference_that_leads_out_or_nowhere_is_refused(reference: str):
    text = SERVED + f"paths: {{/a: {{$ref: '{reference}'}}}}"
    with pytest.raises(ConfigErrors, match=r"leaves the document|leads to nothing"):
        api(text)


def test_references_in_a_circle_are_refused():
    text = SERVED + "paths: {/a: {$ref: '#/paths/~1b'}, /b: {$ref: '#/paths/~1a'}}"
    with pytest.raises(ConfigErrors, match="leads on more than"):
        api(text)


def test_templates_that_differ_in_names_alone_overlap():
    text = SERVED + "paths: {'/a/{x}': {get: {}}, '/a/{y}': {get: {}, put: {}}}"
    with pytest.raises(ConfigErrors, match="overlaps") as wrong:
        api(text)
    assert len(wrong.value.errors) == 1
    assert wrong.value.errors[0].line == 4


def test_a_concrete_path_stands_beside_a_template():
    text = SERVED + "paths: {/a/me: {get: {operationId: Me}}, '/a/{x}': {get: {operationId: One}}}"
    assert set(operations(text)) == {"Me", "One"}


def test_an_id_that_two_operations_share_names_neither():
    text = SERVED + "paths: {/a: {get: {operationId: X}}, /b: {get: {operationId: X}}}"
    assert set(operations(text)) == {"GET /v2/a", "GET /v2/b"}


def test_paths_that_a_query_tells_apart_are_one_operation():
    text = (
        SERVED + "paths: {'/a?x=1': {get: {operationId: One}}, '/a?x=2': {get: {operationId: Two}}}"
    )
    assert operations(text) == {"GET /v2/a": ("GET", "/v2/a", 0)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "it says none of these"),
        ("[]", "not an OpenAPI document"),
        ("openapi: 4.0.0", "it says `4.0.0`"),
        ("swagger: '1.2'", "it says `1.2`"),
        (HEAD, "no `paths`"),
        (HEAD + "paths: {/a: {get: {}}}", "names no host"),
        (SERVED + "paths: {/a: []}", "a mapping should stand here"),
        (SERVED + "paths: {/a: {get: yes}}", "an operation is a mapping"),
        (SERVED + "paths: {'a b': {get: {}}}", "cannot be matched"),
        (SERVED + "paths: {/a/../b: {get: {}}}", "cannot be matched"),
        (HEAD + "servers: [{url: ftp://x.test}]\npaths: {/a: {get: {}}}", "not usable"),
        (HEAD + "servers: [{url: 'https://{x}.test'}]\npaths: {/a: {get: {}}}", "no default"),
        ('{"openapi": "3.0.0", "openapi": "3.0.1"}', "stands twice"),
        ('{"openapi": NaN}', "a number in it is not one"),
        ('{"a":' * 100_000, "too deep|not JSON"),
        ('{"openapi": "3.0.0"', "not JSON"),
    ],
    ids=range(16),
)  # fmt: skip
def test_what_cannot_be_read_says_why(text: str, said: str):
    with pytest.raises(ConfigErrors, match=said):
        api(text)


NAMES = st.sampled_from(
    ["openapi", "swagger", "paths", "/a", "/{b}", "get", "post", "servers", "url", "$ref", "host"]
)
PARTS = st.recursive(
    st.none() | st.integers() | st.sampled_from(
        ["3.0.0", "2.0", "#/paths", "#/paths/~1a", "https://x.test", "/v1", "{x}", ""]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


@given(st.dictionaries(NAMES, PARTS, max_size=6), st.sampled_from(["openapi", "swagger"]))
def test_no_document_makes_it_fail(parts: dict[str, object], make: str):
    document = {**parts, make: "3.0.0" if make == "openapi" else "2.0"}
    try:
        found = api(json.dumps(document))
    except ConfigErrors as error:
        told(error)
    else:
        assert all(operation.path.startswith("/") for operation in found.operations)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(data: bytes):
    try:
        read_operations(read_document(data, "x"))
    except ConfigErrors as error:
        told(error)


def told(error: ConfigErrors) -> None:
    assert error.errors
    assert all(one.line >= 1 for one in error.errors)
