import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.result_files import SCHEMA_FILE, check_output, read_results, results_schema, write_results
from benchmarks.results import AccuracyResults, LatencyResults, Once, Series
from edge_app.errors import InputError
from tests.results import SIZE, accuracy_results, latency_results, latency_run


def test_the_published_schema_is_that_of_the_records() -> None:
    assert SCHEMA_FILE.read_text("utf-8") == results_schema(), "write it anew: python -m benchmarks.result_files"


@pytest.mark.parametrize("results", [latency_results(latency_run(sustained_minutes=3)), accuracy_results()])
def test_a_file_holds_what_was_written(results: LatencyResults | AccuracyResults, tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", results)
    assert read_results(tmp_path / "results.json") == results
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def spoilt(**changes: object) -> bytes:
    return json.dumps(latency_results().model_dump(mode="json") | changes).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is no result of leukoscope bench"),
        (b'{"kind": "latency"}', "is no result of leukoscope bench"),
        (spoilt(kind="horoscope"), "is no result of leukoscope bench"),
        (spoilt(format_version=2), "newer Leukoscope"),
        (spoilt(mood="good"), "wrong at latency.mood"),
        (spoilt(warm_ups=-1), "wrong at latency.warm_ups"),
    ],
)
def test_what_is_no_result_file_is_refused_in_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        read_results(tmp_path / "none.json")


def test_a_place_that_can_not_be_written_is_told_beforehand(tmp_path: Path) -> None:
    check_output(tmp_path / "results.json")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="can't be written"):
        check_output(tmp_path / "none" / "results.json")
    with pytest.raises(InputError, match="is a folder"):
        check_output(tmp_path)


@given(st.lists(st.lists(st.integers(0, 10**12), min_size=1, max_size=50), min_size=1, max_size=5))
def test_no_query_is_dropped_from_a_series(repeats: list[list[int]]) -> None:
    series = Series.of([[each + 1 for each in repeat] for repeat in repeats])
    for times, repeat in zip(series.repeats, repeats, strict=True):
        assert times.count == len(repeat)
        assert times.min_ms == pytest.approx((min(repeat) + 1) / 1e6)
        assert times.max_ms == pytest.approx((max(repeat) + 1) / 1e6)
        assert times.mean_ms == pytest.approx((np.mean(repeat) + 1) / 1e6)
        assert times.p50_ms <= times.p90_ms <= times.p95_ms <= times.p99_ms
    assert list(series.curve_ms) == sorted(series.curve_ms)
    assert series.median.p90_ms == pytest.approx(np.median([times.p90_ms for times in series.repeats]))


def test_one_slow_query_shows_in_the_tail_and_not_in_the_median() -> None:
    series = Series.of([[1_000_000] * 98 + [500_000_000] * 2] * 3)
    assert (series.median.p50_ms, series.median.p99_ms, series.median.max_ms) == (1, 500, 500)
    assert series.spread == 0


def test_the_median_of_the_repeats_is_quoted() -> None:
    assert Once.of([5.0, 1.0, 100.0]).median == 5
    assert Series.of([[2_000_000], [1_000_000], [9_000_000]]).median.p90_ms == 2


def test_a_measurement_is_found_by_its_case_and_size() -> None:
    run = latency_run()
    for size in (SIZE, None):
        frame = run.find("frame", size)
        assert frame is not None
        assert frame.size == SIZE
    assert run.find("frame", SIZE.replace(width=1)) is None
