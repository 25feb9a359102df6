"""The register: what acts add to it, and what they cannot."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.agreeing import ANNA, BORIS, NOON, Book, agreement

from tidegate.domain.agreement import Subprocessor, Transfer
from tidegate.privacy import Acts, Operator, PrivacyRefused


def test_what_was_recorded_is_read_back_whole(book: Book):
    full = agreement(
        subjects=("customer",),
        transfer=Transfer("scc", "TIA-7"),
        subprocessors=(Subprocessor("Cloud Inc", "us", NOON.date()),),
        retention="10 years",
        breach_contact="privacy@pay.test",
    )
    book.agreements.add(ANNA, full)
    assert book.agreements.register().agreements == (full,)
    (act,) = book.agreements.history(full.name)
    assert (act.operator, act.login, act.act, act.at) == ("anna", "root", "agreement.add", NOON)


def test_a_name_is_its_agreements_for_ever(book: Book):
    book.agreements.add(ANNA, agreement())
    book.agreements.end(ANNA, "acme-pay-dpa")
    with pytest.raises(PrivacyRefused, match="already"):
        book.agreements.add(BORIS, agreement())


def test_an_agreement_ends_now_or_on_a_day_before_its_own_end_and_never_later(book: Book):
    book.agreements.add(ANNA, agreement())
    tomorrow = NOON + timedelta(days=1)
    book.agreements.end(ANNA, "acme-pay-dpa", tomorrow)
    (ended,) = book.agreements.register().agreements
    assert ended.ends == tomorrow
    assert ended.is_in_force(tomorrow - timedelta(microseconds=1))
    assert not ended.is_in_force(tomorrow)
    with pytest.raises(PrivacyRefused, match="already"):
        book.agreements.end(ANNA, "acme-pay-dpa", tomorrow + timedelta(days=1))
    # What lies in the past means now: nobody rewrites what was so.
    book.agreements.end(ANNA, "acme-pay-dpa", NOON - timedelta(days=9))
    assert book.agreements.register().agreements[0].ends == NOON


def test_ending_what_is_not_there_says_what_may_have_been_meant(book: Book):
    book.agreements.add(ANNA, agreement())
    with pytest.raises(PrivacyRefused) as refused:
        book.agreements.end(ANNA, "acme-pay-dba")
    assert "did you mean `acme-pay-dpa`?" in refused.value.hint


def test_an_override_begins_with_another_persons_approval_and_ends_by_itself(book: Book):
    asked = book.ask(hours=4)
    assert not asked.is_in_force(NOON)
    book.later(hours=1)
    approved = book.agreements.approve(BORIS, asked.id)
    assert (approved.asked_by, approved.approved_by) == ("anna", "boris")
    assert not approved.is_in_force(NOON)
    assert approved.is_in_force(book.now)
    assert approved.ends == NOON + timedelta(hours=5)
    assert not approved.is_in_force(NOON + timedelta(hours=5))


@pytest.mark.parametrize("hours", [0, -1, 73, 10_000])
def test_an_override_lasts_between_one_and_72_hours(book: Book, hours: int):
    with pytest.raises(PrivacyRefused, match="between 1 and 72"):
        book.ask(hours=hours)


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 501])
def test_an_override_has_a_reason(book: Book, reason: str):
    with pytest.raises(PrivacyRefused, match="reason"):
        book.ask(reason=reason)


@pytest.mark.parametrize(
    "name", ["anna", "Anna", " ANNA ", "\uff41nn\uff41", "an\u00adna", "anna."]
)
def test_whoever_asked_cannot_approve_however_the_name_is_written(book: Book, name: str):
    asked = book.ask()
    if not name.isprintable():
        with pytest.raises(PrivacyRefused):
            Operator(name, "root")
        return
    with pytest.raises(PrivacyRefused, match="cannot approve"):
        book.agreements.approve(Operator(name, "somebody"), asked.id)
    assert not book.agreements.register().overrides[0].is_in_force(book.now)


def test_a_question_that_waited_for_three_days_is_not_approved_any_more(book: Book):
    asked = book.ask()
    book.later(hours=72)
    with pytest.raises(PrivacyRefused, match="waited for too long"):
        book.agreements.approve(BORIS, asked.id)


def test_an_override_is_decided_once(book: Book):
    asked = book.ask()
    book.agreements.approve(BORIS, asked.id)
    with pytest.raises(PrivacyRefused, match="decided already"):
        book.agreements.approve(Operator("cleo", "root"), asked.id)


def test_one_person_revokes_an_override_or_a_question_and_it_stays_so(book: Book):
    asked, other = book.ask(), book.ask()
    book.agreements.approve(BORIS, asked.id)
    book.later(hours=1)
    book.agreements.revoke(ANNA, asked.id)
    assert not book.agreements.register().overrides[0].is_in_force(book.now)
    book.agreements.revoke(ANNA, other.id)
    with pytest.raises(PrivacyRefused, match="decided already"):
        book.agreements.approve(BORIS, other.id)
    with pytest.raises(PrivacyRefused, match="ended already"):
        book.agreements.revoke(ANNA, asked.id)


def test_a_calendar_that_is_set_back_puts_no_act_before_another(book: Book):
    book.agreements.add(ANNA, agreement())
    book.later(days=-5)
    book.agreements.end(BORIS, "acme-pay-dpa", NOON + timedelta(days=2))
    acts = book.acts.verified().acts
    assert [act.at for act in acts] == [NOON, NOON]


@pytest.mark.parametrize(
    ("days", "threshold"), [(61, None), (60, 60), (31, 60), (30, 30), (8, 30), (7, 7), (0.5, 7)]
)
def test_an_end_is_warned_of_60_30_and_7_days_before(
    book: Book, days: float, threshold: int | None
):
    book.agreements.add(ANNA, agreement(ends=NOON + timedelta(days=days)))
    assert [one.days for one in book.agreements.warnings()] == ([threshold] if threshold else [])


def test_an_agreement_that_nothing_follows_is_warned_of_for_a_month_after_its_end(book: Book):
    book.agreements.add(ANNA, agreement("gone", ends=NOON))
    assert [(one.days, one.what[:30]) for one in book.agreements.warnings()] == [
        (0, "ended at 2026-03-01 12:00 UTC,")
    ]
    narrower = {"categories": ("contact.email",), "clients": ("acme",), "ends": None}
    book.agreements.add(ANNA, agreement("narrower", **narrower))
    assert [one.agreement.name for one in book.agreements.warnings()] == ["gone"]
    book.later(days=30, seconds=1)
    assert book.agreements.warnings() == []
    book.later(days=-1)
    book.agreements.add(ANNA, agreement("next", categories=("contact",), ends=None))
    assert book.agreements.warnings() == []


def test_an_agreement_that_another_follows_is_not_warned_of_and_an_old_review_is(book: Book):
    old = Subprocessor("Cloud Inc", "eu", (NOON - timedelta(days=366)).date())
    recent = replace(old, name="Mail Ltd", reviewed=(NOON - timedelta(days=365)).date())
    book.agreements.add(ANNA, agreement("gone", ends=NOON - timedelta(days=1)))
    book.agreements.add(ANNA, agreement("here", subprocessors=(old, recent)))
    (warned,) = book.agreements.warnings()
    assert (warned.agreement.name, warned.days) == ("here", None)
    assert "`Cloud Inc` was last reviewed" in warned.what


def test_nothing_recorded_needs_no_key(book: Book):
    def locked():
        raise AssertionError("the vault was opened")

    assert Acts(book.store, locked).verified().acts == ()
