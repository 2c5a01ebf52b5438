"""Percentiles, tables and verdicts of the benchmark."""

import pytest

from benchmarks.figures import Metric, Unit, median, p99, percentile, show, table
from benchmarks.targets import verdicts


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 0, 7.0),
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([1.0, 2.0], 50, 1.5),
        ([4.0, 1.0, 3.0, 2.0], 25, 1.75),
        (list(range(101)), 99, 99),
        ([1.0, 5.0, 3.0], 100, 5.0),
    ],
)
def test_a_percentile_is_interpolated(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == pytest.approx(expected)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    with pytest.raises(ValueError, match="101"):
        percentile([1.0], 101)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.00123456, Unit.MILLISECONDS, "1.23"),
        (1.0, Unit.MILLISECONDS, "1000"),
        (0.0, Unit.CORE, "0"),
        (0.00051, Unit.CORE, "0.0510"),
        (35 * 2**20, Unit.MEBIBYTES, "35.0"),
        (123_456_789.0, Unit.MEGABYTES_PER_SECOND, "123"),
        (53.0, Unit.COUNT, "53"),
    ],
)
def test_a_figure_has_three_digits(value: float, unit: Unit, shown: str) -> None:
    assert show(value, unit) == shown


def test_a_table_has_ratios_to_its_first_row_and_leaves_out_what_was_not_measured() -> None:
    results = {
        "a": {"ours": [0.001, 0.002, 0.003], "slow|er": [0.005]},
        "b": {"slow|er": [3.0]},
        "c": {},
    }
    metrics = [
        Metric("a", "restart", Unit.MILLISECONDS),
        Metric("b", "lost", Unit.COUNT, max, ratio=False),
        Metric("c", "never", Unit.COUNT),
    ]
    assert table(results, metrics, ["ours", "absent", "slow|er"]).splitlines() == [
        "|          |  restart, ms | lost |",
        "| -------- | -----------: | ---: |",
        "| ours     |         2.00 |    – |",
        "| slow\\|er | 5.00 (2.50×) |    3 |",
    ]
    assert table({}, metrics, ["ours"]) == ""


def test_a_target_is_judged_against_rivals_but_not_against_the_limit() -> None:
    results = {
        "restart/1": {"ours": [0.002], "peer": [0.003], "bare": [0.001]},
        "logs/rate": {"ours": [1e8], "peer": [2e8]},
        "logs/lost": {"ours": [0.0, 1.0]},
        "idle/cpu/500": {"ours": [0.003]},
    }
    found = {v.target: (v.passed, v.figures) for v in verdicts(results, "ours", "bare")}
    assert found["median restart latency below every peer's"] == (True, "2.00 ms, peer 3.00")
    assert found["log throughput above the best peer's"] == (False, "100 MB/s, peer 200")
    assert found["no line lost, doubled or broken"] == (False, "1 lines")
    assert found["idle with 500 services < 0.2 % of a core"] == (False, "0.300 % of a core")
    assert found["p99 restart latency < 25 ms"][0] is True
    assert found["`status` < 100 ms with 100 services"] == (None, "")


def test_median_and_p99_differ() -> None:
    values = [1.0] * 98 + [100.0] * 2
    assert median(values) == 1.0
    assert p99(values) == 100.0
