from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from support.samples import NOON, declaration

from tidegate.domain.declaration import Declaration
from tidegate.store import Store, StoreRefused


def append(store: Store, what: Declaration | None = None):
    return store.revisions.append(what or declaration(), author="ada", note="why", at=NOON)


def test_a_new_store_has_no_revision(store: Store):
    assert store.revisions.current() is None
    assert store.revisions.all() == ()


def test_a_revision_comes_back_as_it_was(store: Store):
    kept = append(store)
    assert kept.number == 1
    assert store.revisions.current() == kept
    assert store.revisions.get(1) == kept
    assert store.revisions.get(2) is None


def test_the_newest_is_in_force_and_the_older_stay(store: Store):
    first = append(store)
    second = append(store, replace(declaration(), grants=()))
    assert store.revisions.current() == second
    assert store.revisions.all() == (first, second)
    assert first.digest != second.digest


def test_the_same_declaration_has_the_same_digest(store: Store):
    assert append(store).digest == append(store).digest


def test_revisions_made_at_once_get_numbers_of_their_own(store: Store):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: append(store).number, range(12)))
    assert sorted(made) == list(range(1, 13))


@pytest.mark.parametrize(
    "statement", ["UPDATE revisions SET author = 'eve'", "DELETE FROM revisions"]
)
def test_the_database_refuses_to_change_a_revision(store: Store, statement: str):
    append(store)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), store._database.writing() as c:
        c.execute(sa.text(statement))
    assert store.revisions.current() is not None


def test_a_damaged_revision_is_refused_by_its_number(store: Store):
    append(store)
    with store._database.writing() as connection:
        copied = (
            "INSERT INTO revisions (number, at, author, note, digest, declaration) "
            "SELECT 2, at, author, note, :digest, declaration FROM revisions"
        )
        connection.execute(sa.text(copied), {"digest": "0" * 64})
    with pytest.raises(StoreRefused, match="Revision 2"):
        store.revisions.current()


def test_fields_that_a_later_version_adds_do_not_disturb(store: Store):
    from tidegate.store.revisions import _DECLARATION

    document = _DECLARATION.dump_json(declaration())
    newer = document.replace(b'{"clients"', b'{"of_tomorrow":1,"clients"')
    assert _DECLARATION.validate_json(newer) == declaration()
