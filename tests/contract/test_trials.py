"""In short what `make claims` does at length: credentials raced for, killed in the middle, and altered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench.trials.killing import Killed, kill_refreshes, kill_rotations
from bench.trials.racing import race
from bench.trials.tampering import flip_bits, roll_back, swap_rows

# Each starts processes that import all there is, which takes long on a machine that is busy.
pytestmark = pytest.mark.timeout(300)
SEED = int(os.environ.get("TIDEGATE_TEST_SEED", "20260301"))


def test_many_threads_of_many_processes_ask_once(tmp_path: Path, store_url: str):
    raced = race(tmp_path, store_url, processes=4, callers=16, trials=5)
    assert (raced.trials, raced.requests, raced.empty_handed) == (5, 5, 0)
    assert raced.astray == []


def test_killed_at_any_moment_of_a_refresh_nothing_is_lost(tmp_path: Path, store_url: str):
    killed = kill_refreshes(tmp_path, store_url, kills=12, seed=SEED)
    is_right_again(killed, 12)
    assert killed.consents_lost == 0


def test_a_provider_that_takes_no_token_twice_is_asked_no_more_after_its_no(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/data/tidegate.db"
    killed = kill_refreshes(tmp_path, url, kills=8, seed=SEED, reuse_s=0)
    is_right_again(killed, 8)
    # Once for each answer that was lost.
    assert killed.reused == killed.consents_lost


def test_killed_at_any_moment_of_a_rotation_no_key_is_left_over(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/data/tidegate.db"
    is_right_again(kill_rotations(tmp_path, url, kills=8, seed=SEED), 8)


def is_right_again(killed: Killed, kills: int) -> None:
    assert killed.kills.total() == kills
    assert killed.faults == 0, killed
    assert killed.recoveries_s


def test_what_was_altered_in_the_store_does_not_open(tmp_path: Path):
    for tried, least in (
        (flip_bits(tmp_path / "bits", every=61), 100),
        (swap_rows(tmp_path / "rows"), 100),
        *zip(roll_back(tmp_path / "history", changes=3), (10, 6, 6), strict=True),
    ):
        assert tried.tried >= least
        assert tried.accepted == []
        assert tried.unforeseen == []
