"""Whoever writes the database cannot make an agreement, lengthen one, or hide what was done."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from support.agreeing import ANNA, BORIS, KEY, Book, agreement, tamper_with

from tidegate.domain.secret import Secret
from tidegate.privacy import Acts, ActsAltered
from tidegate.store import Store, StoreError


@pytest.fixture
def book(acts_store: Store) -> Book:
    """Four acts: two agreements, one of them ended, and a question for an override."""
    made = Book(acts_store, Acts(acts_store, lambda: KEY), datetime(2026, 3, 1, 12, tzinfo=UTC))
    made.agreements.add(ANNA, agreement("one"))
    made.agreements.add(ANNA, agreement("two"))
    made.agreements.end(BORIS, "two")
    made.ask()
    return made


def anew(book: Book) -> Acts:
    """As another process reads them, which has seen nothing yet."""
    return Acts(book.store, lambda: KEY)


def test_untouched_acts_verify(book: Book):
    assert len(anew(book).verified().acts) == 4


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("UPDATE acts SET details = replace(details, 'contact', 'health') WHERE seq = 1", 1),
        ("UPDATE acts SET operator = 'mallory' WHERE seq = 2", 2),
        ("UPDATE acts SET login = 'mallory' WHERE seq = 2", 2),
        ("UPDATE acts SET at = at + 1 WHERE seq = 3", 3),
        ("UPDATE acts SET act = 'agreement.add' WHERE seq = 3", 3),
        ("UPDATE acts SET subject = 'one' WHERE seq = 3", 3),
        ("UPDATE acts SET mac = :noise WHERE seq = 4", 4),
        ("DELETE FROM acts WHERE seq = 1", 1),
        ("DELETE FROM acts WHERE seq = 3", 3),
        ("UPDATE acts SET seq = seq + 10 WHERE seq = 2", 2),
    ],
)
def test_an_altered_removed_or_moved_entry_is_found(book: Book, statement: str, entry: int):
    tamper_with(book.store, statement, noise=bytes(32))
    with pytest.raises(ActsAltered) as altered:
        anew(book).verified()
    assert altered.value.seq == entry


def test_two_entries_in_each_others_place_are_found(book: Book):
    tamper_with(
        book.store,
        "UPDATE acts SET seq = 99 WHERE seq = 2",
        "UPDATE acts SET seq = 2 WHERE seq = 3",
        "UPDATE acts SET seq = 3 WHERE seq = 99",
    )
    with pytest.raises(ActsAltered) as altered:
        anew(book).verified()
    assert altered.value.seq == 2


def test_the_last_entries_cannot_be_cut_off(book: Book):
    """The end of `two` is what a thief would want to be gone."""
    tamper_with(book.store, "DELETE FROM acts WHERE seq >= 3")
    with pytest.raises(ActsAltered, match="entries after 2 were removed"):
        anew(book).verified()


@pytest.mark.parametrize(
    "head",
    [
        "UPDATE acts_head SET seq = 2",
        "UPDATE acts_head SET seq = 2, mac = (SELECT mac FROM acts WHERE seq = 2)",
        "DELETE FROM acts_head",
    ],
)
def test_not_even_together_with_what_names_the_newest(book: Book, head: str):
    tamper_with(book.store, "DELETE FROM acts WHERE seq >= 3", head)
    with pytest.raises(ActsAltered):
        anew(book).verified()


def test_a_process_that_has_seen_more_notices_an_earlier_copy(book: Book):
    head = anew(book).verified().head
    with book.store.acts._database.reading() as connection:
        rows = connection.execute(sa.text("SELECT seq, mac FROM acts_head")).all()
    book.agreements.add(ANNA, agreement("three"))
    ((seq, mac),) = rows
    tamper_with(
        book.store,
        f"DELETE FROM acts WHERE seq > {seq}",
        f"UPDATE acts_head SET seq = {seq}, mac = :mac",
        mac=mac,
    )
    with pytest.raises(ActsAltered, match="an earlier copy"):
        book.acts.verified()
    # One that starts now cannot know: that is what a head is noted for.
    assert anew(book).verified().head == head


def test_a_head_that_was_noted_shows_that_an_earlier_copy_was_put_back(book: Book):
    with book.store.acts._database.reading() as connection:
        ((seq, mac),) = connection.execute(sa.text("SELECT seq, mac FROM acts_head")).all()
    book.agreements.add(ANNA, agreement("three"))
    noted = anew(book).verified().head
    assert anew(book).verified_since(noted).head == noted
    tamper_with(
        book.store,
        f"DELETE FROM acts WHERE seq > {seq}",
        f"UPDATE acts_head SET seq = {seq}, mac = :mac",
        mac=mac,
    )
    with pytest.raises(ActsAltered, match="entry 5 is not the one that was noted"):
        anew(book).verified_since(noted)


def test_an_act_that_was_made_up_does_not_count(book: Book):
    tamper_with(
        book.store,
        "INSERT INTO acts SELECT 5, at, operator, login, act, 'made-up', details, mac FROM acts "
        "WHERE seq = 1",
    )
    with pytest.raises(ActsAltered) as altered:
        anew(book).verified()
    assert altered.value.seq == 5
    register = Book(book.store, anew(book), book.now).agreements.trusted()
    assert (register.agreements, register.overrides) == ((), ())
    assert "entry 5 was altered" in register.distrusted


def test_nothing_is_added_to_what_does_not_verify(book: Book):
    tamper_with(book.store, "UPDATE acts SET operator = 'mallory' WHERE seq = 2")
    with pytest.raises(ActsAltered):
        Book(book.store, anew(book), book.now).agreements.add(BORIS, agreement("new"))
    assert len(book.store.acts.all()[0]) == 4


def test_another_installations_acts_do_not_verify(book: Book):
    with pytest.raises(ActsAltered):
        Acts(book.store, lambda: Secret(b"another vault's key for acts")).verified()


@pytest.mark.parametrize("statement", ["UPDATE acts SET operator = 'x'", "DELETE FROM acts"])
def test_the_database_itself_refuses_what_is_no_addition(book: Book, statement: str):
    with pytest.raises((StoreError, sa.exc.SQLAlchemyError)), book.store._database.writing() as it:
        it.execute(sa.text(statement))
