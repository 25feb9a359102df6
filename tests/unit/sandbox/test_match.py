"""A request finds the one operation that the document means."""

from __future__ import annotations

import pytest

from tidegate.domain.operation import Operation
from tidegate.sandbox.match import Matcher

MATCHER = Matcher(
    Operation(id=path, method="GET", path=path)
    for path in (
        "/{a}/{b}",
        "/{a}/of",
        "/orders/{id}",
        "/orders/{id}.json",
        "/orders/latest",
        "/orders/{id}:cancel",
    )
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/orders/latest", "/orders/latest"),
        ("/orders/7", "/orders/{id}"),
        ("/orders/7.json", "/orders/{id}.json"),
        ("/orders/7:cancel", "/orders/{id}:cancel"),
        ("/orders/of", "/orders/{id}"),
        ("/x/of", "/{a}/of"),
        ("/x/y", "/{a}/{b}"),
        ("/orders/", None),
        ("/orders/7/lines", None),
        ("/orders/7/", None),
    ],
)
def test_most_concrete_template_is_found(path: str, found: str | None):
    operation = MATCHER.find("GET", path)
    assert (operation.path if operation else None) == found


def test_head_goes_as_get_where_it_has_no_operation():
    found = MATCHER.find("HEAD", "/orders/7")
    assert found
    assert found.method == "GET"


def test_other_methods_find_nothing():
    assert MATCHER.find("POST", "/orders/7") is None
