"""By which agreements a client's data may go: everything but the time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.agreeing import NOON, agreement

from tidegate.domain.agreement import ALL, Override, Register, Subprocessor, Transfer
from tidegate.domain.declaration import Client
from tidegate.snapshot.covering import Need, cover

EU = Client("acme", region="eu")
EMAIL = Need("contact.email", "payment")
SCC = Transfer("scc", "TIA-7")


def judged(*agreements: Any, client: Client = EU, need: Need = EMAIL, **more: Any):
    return cover(client, "pay", need, Register(agreements, **more))


def names(found: Any) -> list[tuple[str, ...]]:
    return [window.names for window in found.windows]


def test_nothing_on_record_covers_nothing():
    assert "none is on record" in judged().missing


def test_an_agreement_covers_what_it_names_and_all_below_it_in_its_time():
    one = agreement()
    (window,) = judged(one).windows
    assert (window.starts, window.ends, window.names) == (one.starts, one.ends, (one.name,))
    assert judged(one, need=Need("contact", "payment.invoice")).windows
    assert judged(one, need=Need("user.contact.phone", "payment")).windows


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"provider": "text"}, "none is on record"),
        ({"clients": ("globex",)}, "none is on record"),
        ({"categories": ("contact.phone",)}, "does not cover the category `contact.email`"),
        ({"categories": ("contact_details",)}, "does not cover the category"),
        ({"purposes": ("pay", "payments")}, "does not cover the purpose `payment`"),
        ({"purposes": ("payment.card",)}, "does not cover the purpose"),
        ({"kind": "ccpa"}, "of kind `ccpa`"),
        ({"kind": "pci"}, "of kind `pci`"),
        ({"kind": "baa"}, "of kind `baa`"),
        ({"regions": ("us",)}, "from `eu` to `us` without a transfer tool"),
        ({"regions": ("eu", "in")}, "to `in` without a transfer tool"),
    ],
)
def test_what_an_agreement_does_not_say_it_does_not_cover(changes: dict[str, Any], reason: str):
    found = judged(agreement(**changes))
    assert found.windows == ()
    assert reason in found.missing


def test_an_agreement_for_all_covers_every_client():
    assert judged(agreement(clients=(ALL,)), client=Client("globex", region="de")).windows


def test_a_subprocessor_abroad_is_a_transfer_too():
    employed = Subprocessor("Cloud Inc", "us", NOON.date())
    found = judged(agreement(subprocessors=(employed,)))
    assert "to `us` without a transfer tool" in found.missing
    assert judged(agreement(subprocessors=(employed,), transfer=SCC)).windows


@pytest.mark.parametrize("region", ["de", "fr", "eea", "is", "de-by"])
def test_the_eea_is_one_territory(region: str):
    assert judged(agreement(regions=(region,))).windows
    assert judged(agreement(regions=("eu",)), client=Client("acme", region=region)).windows


@pytest.mark.parametrize("region", ["uk", "ch", "us", "ukraine"])
def test_and_what_is_not_of_it_is_abroad(region: str):
    assert not judged(agreement(regions=(region,))).windows


def test_clauses_on_a_paper_of_their_own_let_a_processing_agreement_cross():
    dpa = agreement(regions=("us",))
    clauses = agreement(
        "clauses",
        kind="scc",
        regions=("us",),
        transfer=SCC,
        starts=NOON,
        ends=NOON + timedelta(days=9),
    )
    found = judged(dpa, clauses)
    assert ("acme-pay-dpa", "clauses") in names(found)
    both = next(w for w in found.windows if len(w.names) == 2)
    assert (both.starts, both.ends) == (NOON, NOON + timedelta(days=9))


def test_what_is_never_in_force_together_covers_nothing():
    dpa = agreement(regions=("us",), ends=NOON)
    clauses = agreement(
        "clauses", kind="scc", categories=("contact",), regions=("us",), transfer=SCC, starts=NOON
    )
    assert names(judged(dpa, clauses)) == [("clauses",)]


def test_residency_holds_whatever_was_agreed():
    client = Client("acme", region="eu", residency=("eu",))
    found = judged(agreement(regions=("eu", "us"), transfer=SCC), client=client)
    assert "to `us`, outside the client's residency" in found.missing
    assert judged(agreement(regions=("de",)), client=client).windows


HEALTH = Need("health.diagnosis", "treatment")
US = Client("acme", region="us")


def health(name: str = "terms", **changes: Any):
    values = {"kind": "ccpa", "categories": ("health",), "purposes": ("treatment",)}
    return agreement(name, **(values | {"regions": ("us",)} | changes))


def test_a_special_category_is_covered_in_its_own_words_alone():
    wide = agreement(categories=("contact", "user"), purposes=("treatment",))
    assert not judged(wide, need=Need("user.health.diagnosis", "treatment")).windows
    assert judged(health(kind="dpa", regions=("eu",)), need=HEALTH).windows


def test_health_data_of_an_american_client_needs_a_business_associate_agreement():
    found = judged(health(), client=US, need=HEALTH)
    assert found.windows == ()
    assert "no business associate agreement" in found.missing
    assert judged(health("baa", kind="baa"), client=US, need=HEALTH).windows
    together = judged(health(), health("baa", kind="baa"), client=US, need=HEALTH)
    assert ("terms", "baa") in names(together)


def test_and_of_any_client_that_says_so():
    client = Client("acme", region="eu", phi=True)
    dpa = health("dpa", kind="dpa", regions=("eu",))
    assert not judged(dpa, client=client, need=HEALTH).windows
    both = judged(dpa, health("baa", kind="baa", regions=("eu",)), client=client, need=HEALTH)
    assert names(both) == [("dpa", "baa")]


def test_a_business_associate_agreement_covers_what_it_names_only():
    baa = health("baa", kind="baa", categories=("health.insurance",))
    assert not judged(health(), baa, client=US, need=HEALTH).windows


def override(**changes: Any) -> Override:
    values: dict[str, Any] = {
        "id": "ovr_1",
        "client": "acme",
        "provider": "pay",
        "categories": ("contact",),
        "purposes": ("payment",),
        "reason": "r",
        "hours": 2,
        "asked_by": "anna",
        "asked_at": NOON,
        "approved_by": "boris",
        "approved_at": NOON + timedelta(hours=1),
    }
    return Override(**(values | changes))


def test_an_approved_override_covers_for_its_hours():
    (window,) = judged(overrides=(override(),)).windows
    assert (window.starts, window.ends) == (NOON + timedelta(hours=1), NOON + timedelta(hours=3))


@pytest.mark.parametrize(
    "changes",
    [
        {"approved_at": None, "approved_by": ""},
        {"revoked_at": NOON + timedelta(hours=1)},
        {"client": "globex"},
        {"provider": "text"},
        {"categories": ("contact.phone",)},
        {"purposes": ("marketing",)},
    ],
)
def test_an_override_lifts_nothing_else(changes: dict[str, Any]):
    assert not judged(overrides=(override(**changes),)).windows


def test_where_the_register_is_not_to_be_trusted_nothing_covers():
    found = judged(agreement(), overrides=(override(),), distrusted="entry 2 was altered.")
    assert (found.windows, found.missing) == ((), "entry 2 was altered.")
