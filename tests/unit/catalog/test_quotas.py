"""How much a provider allows is declared as data; what cannot be counted is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.catalog import ConfigErrors, load, presets
from tidegate.domain.quota import Quota, QuotaQueue, QuotaSettlement


def declared(folder: Path, quotas: str, *, provider: str = "") -> tuple[Quota, ...]:
    file = folder / "tidegate.yaml"
    operations = '["GET /things", "POST /things"]'
    own = f"    origin: https://api.example.com\n    auth: bearer\n    operations: {operations}\n"
    file.write_text(f"version: 1\nproviders:\n  api:\n{provider or own}    quotas:\n{quotas}")
    return load(file).providers[0].quotas


def mistakes(folder: Path, quota: str, **provider: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        declared(folder, f"      q: {quota}\n", **provider)
    return [
        f"{error.line}:{error.column}: {error.message} {error.hint}"
        for error in caught.value.errors
    ]


def test_an_amount_and_a_window_are_enough(tmp_path: Path):
    assert declared(tmp_path, "      q: {amount: 600, window: 1m}\n") == (
        Quota("q", "log", 600, (("*", 1),), window_ms=60_000),
    )


def test_costs_come_before_what_the_rest_costs(tmp_path: Path):
    (quota,) = declared(
        tmp_path,
        "      points: {model: bucket, amount: 1000, restored: 50, window: 1s, cost: 10,"
        ' costs: {"GET *": 1}, settle: {body: /cost/actual}, free: [304], queue: {wait: 5s}}\n',
    )
    assert quota.costs == (("GET *", 1), ("*", 10))
    assert quota.headroom == 3
    assert quota.settle == QuotaSettlement(body="/cost/actual")
    assert quota.queue == QuotaQueue(5_000, 1_000)


@pytest.mark.parametrize(
    ("quota", "said"),
    [
        ("{window: 1m}", "`amount` is missing"),
        ("{amount: 0, window: 1m}", "greater than or equal to 1"),
        ("{amount: 5}", "`log` needs a `window`"),
        ("{amount: 5, window: 60}", "a duration is a whole number with a unit"),
        ("{amount: 5, window: 1m, burst: 2}", "`burst` is for `gcra`, not for `log`"),
        ("{amount: 5, model: concurrency, window: 1m}", "`window` is for"),
        ("{amount: 5, model: bucket, window: 1m}", "`bucket` needs `restored`"),
        ("{amount: 1, model: gcra, window: 1m}", "`gcra` spreads an amount of 2 or more"),
        ("{amount: 9, model: gcra, window: 1m, burst: 9}", "a `burst` is smaller than the amount"),
        ("{amount: 5, window: 1m, cost: 6}", "a call of 6 never fits into 5"),
        ("{amount: 5, window: 1m, model: lgo}", "did you mean `log`?"),
        ("{amount: 5, windw: 1m}", "did you mean `window`?"),
        ("{amount: 5, model: calendar, zone: Europe/Berlim}", "did you mean `Europe/Berlin`?"),
        ("{amount: 5, window: 1m, queue: {wait: 1h}}", "a call waits 10m at most"),
        ("{amount: 5, window: 1m, settle: {}}", "a cost is read from one place"),
        ("{amount: 5, window: 1m, settle: {body: cost}}", "is not a place in an answer"),
        ('{amount: 5, window: 1m, operations: ["GET /thigns"]}', "did you mean `GET /things`?"),
        ('{amount: 5, window: 1m, costs: {"PUT *": 2}}', "`PUT *` matches no operation"),
        ("null", "there is no quota `q` to leave out"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_would_be_right(
    tmp_path: Path, quota: str, said: str
):
    assert any(said in one and one.startswith(("7:", "8:")) for one in mistakes(tmp_path, quota))


def test_a_presets_quota_is_replaced_whole_or_left_out(tmp_path: Path):
    github = "    preset: github\n"
    quotas = declared(
        tmp_path,
        "      core: {amount: 15000, window: 1h, model: window}\n      search: null\n",
        provider=github,
    )
    assert [(one.name, one.amount) for one in quotas] == [("core", 15_000), ("inflight", 100)]


def test_presets_that_publish_their_limits_bring_them():
    bringing = {name: one.provider.quotas for name, one in presets().items() if one.provider.quotas}
    assert len(bringing) >= 10
    assert [one.name for one in bringing["github"]] == ["core", "search", "inflight"]
