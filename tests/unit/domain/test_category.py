"""Kinds of data are dotted words; what they are to the law is said in one place."""

from __future__ import annotations

import pytest

from tidegate.domain.category import covers, is_category, is_personal, is_special


@pytest.mark.parametrize("word", ["contact", "contact.email", "user.health", "system.operations"])
def test_a_dotted_word_names_a_category(word: str):
    assert is_category(word)


@pytest.mark.parametrize("word", ["", "Contact", "contact.", ".email", "a b", "a-b", "a\n", "1a"])
def test_another_text_names_none(word: str):
    assert not is_category(word)


def test_all_is_personal_that_is_not_said_to_be_otherwise():
    assert is_personal("contact.email")
    assert is_personal("something_new")
    assert is_personal("user.device")
    assert not is_personal("system.operations")
    assert not is_personal("none")
    assert is_personal("nonesuch")


def test_special_categories_are_told_by_their_first_word():
    assert is_special("health.condition")
    assert is_special("user.health")
    assert not is_special("contact.health")


def test_a_category_covers_what_is_below_it():
    assert covers("contact", "contact.email")
    assert covers("user.contact", "contact.email")
    assert covers("contact.email", "user.contact.email")
    assert not covers("contact.email", "contact")
    assert not covers("contact", "contacts.email")
