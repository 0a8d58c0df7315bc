import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.page import html, markdown
from benchmarks.report import Candidate, Collected, collect
from benchmarks.report_choice import AXES, AxisName, broken, choose, pareto_front
from benchmarks.report_sections import TITLE, sections
from benchmarks.result_files import write_results
from benchmarks.results import AccuracyResults, LatencyResults
from edge_app.cli import leukoscope
from edge_app.errors import InputError
from edge_app.manifest import INTENDED_USE, Figure
from tests.full_disk import small_files
from tests.results import (
    STARTED,
    accuracy_results,
    accuracy_run,
    conditions,
    environment,
    facts,
    latency_results,
    latency_run,
    series,
)

SERIES = {milliseconds: series(milliseconds, repeats=1) for milliseconds in (5, 10, 20, 40)}
GAINS = [0.9, 0.95, 0.97, 0.99]
FAST, EXACT = facts("fast"), facts("exact")


def candidates() -> st.SearchStrategy[list[Candidate]]:
    """Few different values each, so that many are equal in something."""
    run = latency_run(facts())

    def build(
        number: int, values: tuple[int, float | None, float | None, float | None, float | None, bool]
    ) -> Candidate:
        milliseconds, memory, energy, accuracy, specificity, valid = values
        figures = {"accuracy": accuracy, "specificity": specificity}
        return Candidate(
            number=number,
            device="a board",
            environment=environment(),
            run=run,
            size=run.measurements[2].size,
            total=SERIES[milliseconds],
            model=None,
            memory_mb=memory,
            energy_j=energy,
            figures={name: Figure(value=value) for name, value in figures.items() if value is not None},
            basis="the same images",
            invalid=() if valid else ("too short",),
        )

    maybe = st.sampled_from([None, *GAINS])
    values = st.tuples(
        st.sampled_from(list(SERIES)),
        st.sampled_from([None, 50.0, 100.0, 200.0]),
        st.sampled_from([None, 0.1, 0.2]),
        maybe,
        maybe,
        st.booleans(),
    )
    return st.lists(values, max_size=8).map(lambda many: [build(n, each) for n, each in enumerate(many, 1)])


def limits() -> st.SearchStrategy[dict[AxisName, float]]:
    choices: dict[AxisName, list[float]] = {
        "latency": [7.0, 15.0, 30.0],
        "memory": [60.0, 150.0],
        "energy": [0.15],
        "accuracy": GAINS,
        "specificity": GAINS,
    }
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in choices.items()})


def beats(a: Candidate, b: Candidate, cost: AxisName) -> bool:
    """Whether a is no worse than b in cost and accuracy, and better in one."""
    pairs = [(AXES[cost].of(a), AXES[cost].of(b)), (AXES["accuracy"].of(b), AXES["accuracy"].of(a))]
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    return len(known) == 2 and all(x <= y for x, y in known) and any(x < y for x, y in known)


@given(candidates(), st.sampled_from(["latency", "memory", "energy"]))
@settings(max_examples=60, deadline=None)
def test_the_front_is_what_nothing_beats_and_all_of_it(found: list[Candidate], cost: AxisName) -> None:
    known = [each for each in found if AXES[cost].of(each) is not None and AXES["accuracy"].of(each) is not None]
    front = pareto_front(found, cost)
    assert {each.number for each in front} == {
        each.number for each in known if not any(beats(other, each, cost) for other in known)
    }
    costs = [AXES[cost].of(each) or 0 for each in front]
    assert costs == sorted(costs)


@given(candidates(), limits())
@settings(max_examples=60, deadline=None)
def test_what_is_recommended_is_valid_meets_every_limit_and_is_beaten_by_nothing_that_does(
    found: list[Candidate], wanted: dict[AxisName, float]
) -> None:
    choice = choose(found, wanted)
    able = [each for each in found if not each.invalid and "accuracy" in each.figures and not broken(each, wanted)]
    assert (choice.best is None) == (not able)
    assert choice.reasons
    if choice.best is not None:
        assert choice.best in able
        assert choice.best.name in choice.reasons[0]
        assert not any(beats(each, choice.best, "latency") for each in able)
        assert max(each.figures["accuracy"].value for each in able) == choice.best.figures["accuracy"].value


@given(candidates())
@settings(max_examples=30, deadline=None)
def test_a_bundle_that_is_not_certified_is_recommended_only_where_no_other_is(found: list[Candidate]) -> None:
    doubtful = latency_run(facts("doubtful").replace(certified=False))
    better = [
        replace(each, run=doubtful, figures={"accuracy": Figure(value=1.0)})
        for each in found
        if "accuracy" in each.figures
    ]
    best = choose([*found, *better], {}).best
    assert (best in better) == (choose(found, {}).best is None and choose(better, {}).best is not None)
    assert all("(not certified)" in each.name for each in better)


@given(candidates(), limits())
@settings(max_examples=25, deadline=None)
def test_any_set_of_candidates_makes_a_page_and_a_text(found: list[Candidate], wanted: dict[AxisName, float]) -> None:
    parts = sections(Collected(tuple(found), (), ()), wanted)
    page, text = html(TITLE, parts, STARTED), markdown(TITLE, parts, STARTED)
    for each in found:
        if each.invalid:
            assert "INVALID: too short" in page
            assert "INVALID: too short" in text


def files(folder: Path, *results: LatencyResults | AccuracyResults) -> list[Path]:
    paths = [folder / f"{number}.json" for number in range(len(results))]
    for path, each in zip(paths, results, strict=True):
        write_results(path, each)
    return paths


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, ["bench", "report", *map(str, arguments)])


def test_what_was_not_measured_meets_no_limit_on_it(tmp_path: Path) -> None:
    (candidate,) = collect(files(tmp_path, latency_results(latency_run(watts=None)))).candidates
    assert broken(candidate, {"energy": 5}) == ["energy a frame is not known"]
    assert broken(candidate, {"latency": 50}) == []
    assert "is above 10 ms" in broken(candidate, {"latency": 10})[0]


def test_accuracy_that_was_measured_counts_before_that_of_the_card(tmp_path: Path) -> None:
    latency = latency_results(latency_run(FAST), latency_run(EXACT))
    measured = accuracy_results(
        accuracy_run(FAST, accuracy=0.5, perturbation={"kind": "blur", "strength": 1}),
        accuracy_run(FAST, accuracy=0.91),
    )
    fast, exact = collect(files(tmp_path, latency, measured)).candidates
    assert (fast.figures["accuracy"].value, exact.figures["accuracy"].value) == (0.91, 0.98)
    assert fast.basis != exact.basis
    assert len(collect(files(tmp_path, latency, measured)).comparisons()) == 2  # on other images: not comparable


def test_frames_of_other_sizes_are_not_compared(tmp_path: Path) -> None:
    run = latency_run()
    *others, frame = run.measurements
    large = frame.replace(size={"width": 2592, "height": 1944})
    collected = collect(files(tmp_path, latency_results(run.replace(measurements=(*others, frame, large)))))
    assert [size for size, _ in collected.comparisons()] == ["1280x960", "2592x1944"]


INVALID = {
    "its own reason": (latency_results(latency_run(invalid=["throttled: under-voltage"])), "throttled: under-voltage"),
    "too short": (
        latency_results(
            latency_run().replace(measurements=[each.replace(complete=False) for each in latency_run().measurements])
        ),
        "fewer than 1024 queries or 60 s",
    ),
    "slowed down": (
        latency_results(latency_run().replace(conditions=[conditions(throttled=("frequency capped",))])),
        "slowed down",
    ),
    "emulated": (latency_results(environment=environment(emulated=True)), "emulated"),
    "stopped": (latency_results(latency_run().replace(measurements=())), "no time from frame to verdict"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_run_is_shown_with_its_reason_and_never_ranked(name: str, tmp_path: Path) -> None:
    results, reason = INVALID[name]
    paths = files(tmp_path, results)
    assert not collect(paths).comparisons()
    done = call(*paths, "--output", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "No run is valid" in done.output
    for kind in ("html", "md"):
        text = (tmp_path / "report" / f"report.{kind}").read_text()
        assert "INVALID" in text
        assert reason in text
    (row,) = csv.DictReader(io.StringIO((tmp_path / "report" / "latency.csv").read_text()))
    assert row["valid"] == "False"
    assert reason in row["invalid_because"]


def test_the_command_recommends_within_the_limits(tmp_path: Path) -> None:
    small = latency_results(
        latency_run(FAST, infer_ms=8, memory_bytes=60e6), latency_run(EXACT, infer_ms=60, memory_bytes=400e6)
    )
    accuracy = accuracy_results(accuracy_run(FAST, accuracy=0.97), accuracy_run(EXACT, accuracy=0.99))
    paths = files(tmp_path, small, accuracy)
    for limits, wanted in (
        ([], "exact"),
        (["--max-latency", "50ms"], "fast"),
        (["--max-latency", "0.05 s"], "fast"),
        (["--max-memory", "0.3GB"], "fast"),
        (["--min-accuracy", "98%"], "exact"),
        (["--max-latency", "1s", "--min-specificity", "0.96"], "exact"),
        (["--max-latency", "50ms", "--min-accuracy", "0.98"], None),
    ):
        done = call(*paths, *limits, "--output", tmp_path / "report", "--json")
        assert done.exit_code == 0, done.output
        assert [each.get("bundle") for each in json.loads(done.stdout)] == [wanted]
    said = call(*paths, "--max-latency", "50ms", "--min-accuracy", "0.98", "--output", tmp_path / "report").stdout
    assert "None meets the limits (frame → verdict, p90 at most 50 ms, accuracy at least 98.0%)" in said


@pytest.mark.parametrize("limit", ["50 apples", "fast", "-3ms", "nan", "1e9ms", ""])
def test_a_limit_that_is_no_quantity_is_refused(limit: str, tmp_path: Path) -> None:
    done = call(*files(tmp_path, latency_results()), f"--max-latency={limit}")
    assert done.exit_code == 2
    assert "write a number and one of ms, s" in " ".join(done.output.replace("│", " ").split())


def test_a_share_above_one_is_refused(tmp_path: Path) -> None:
    assert call(*files(tmp_path, latency_results()), "--min-accuracy", "95").exit_code == 2


def test_two_devices_of_one_name_are_told_apart_by_their_files(tmp_path: Path) -> None:
    first, second = collect(files(tmp_path, latency_results(), latency_results())).candidates
    assert (first.device, second.device) == tuple(f"Raspberry Pi 5 Model B Rev 1.0 ({n})" for n in (0, 1))


def test_files_that_can_not_be_used_are_one_sentence(tmp_path: Path) -> None:
    good, twice, again = files(tmp_path, latency_results(), accuracy_results(), accuracy_results())
    newer, other, text = (tmp_path / name for name in ("newer.json", "other.json", "text.json"))
    newer.write_text(json.dumps({"format_version": 99, "kind": "latency", "surprise": 1}))
    other.write_text(json.dumps({"accuracy": 0.98}))
    text.write_text("frames,ms\n")
    for wrong, words in (
        (newer, "newer Leukoscope"),
        (other, "no result of leukoscope bench"),
        (text, "not JSON"),
        (tmp_path / "none.json", "can't be read"),
        (tmp_path, "can't be read"),
    ):
        done = call(good, wrong, "--output", tmp_path / "report")
        assert isinstance(done.exception, InputError), done.output
        assert words in str(done.exception)
        assert not (tmp_path / "report").exists()
    with pytest.raises(InputError, match="two results give the accuracy of tiny"):
        collect([good, twice, again])


def test_the_folder_for_the_report_can_not_be_a_file(tmp_path: Path) -> None:
    (path,) = files(tmp_path, latency_results())
    assert isinstance(call(path, "--output", path).exception, InputError)


def test_a_disk_that_takes_no_more_leaves_the_report_before(tmp_path: Path) -> None:
    paths = files(tmp_path, latency_results())
    call(*paths, "-o", tmp_path / "report")
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    with small_files(1000):
        result = call(*paths, "-o", tmp_path / "report")
    assert isinstance(result.exception, InputError)
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before


def test_the_page_stands_alone_and_shows_everything(tmp_path: Path) -> None:
    run = latency_run(FAST, sustained_minutes=5)
    done = call(
        *files(tmp_path, latency_results(run, latency_run(EXACT)), accuracy_results()), "-o", tmp_path / "report"
    )
    assert done.exit_code == 0, done.output
    page, text = ((tmp_path / "report" / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "default-src 'none'" in page
    for part in ("http://", "https://", "<script", "<img", "<link", "url("):
        assert part not in page
    assert page.count("<svg") == 4 + 1 + 2  # four fronts, percentiles, times and temperature without rest
    for title in ("Recommendation", "All valid runs", "Without rest", "Accuracy", "Devices"):
        assert f"<h2>{title}" in page
        assert f"## {title}" in text
    assert INTENDED_USE in page
    assert INTENDED_USE in text
    assert "blur 2" in page


def test_many_bundles_make_a_short_table_and_sorted_ones(tmp_path: Path) -> None:
    """The first table has what is worth a look, the others begin with the best."""
    bundles = [facts(f"bundle-{n}", sha256=f"{n:064x}", bundle_bytes=3_000_000 + n) for n in range(45)]
    runs = [latency_run(each, infer_ms=5 + n % 7, threads=t) for n, each in enumerate(bundles) for t in (1, 2)]
    accuracies = [accuracy_run(each, accuracy=0.9 + 0.01 * (n % 5)) for n, each in enumerate(bundles)]
    paths = files(tmp_path, latency_results(*runs), accuracy_results(*accuracies))
    collected = collect(paths)
    by_title = {each.title: each for each in sections(collected, {})}
    first, everything, accuracy = (by_title[title].table for title in ("Recommendation", "All valid runs", "Accuracy"))
    assert first is not None
    assert everything is not None
    assert accuracy is not None
    assert len(first.rows) < 30
    assert f"{90 - len(first.rows)} others" in by_title["Recommendation"].text[0]
    fronts = {each.number for (group,) in [collected.comparisons().values()] for each in pareto_front(group, "latency")}
    assert fronts <= {int(row[0]) for row in first.rows}
    p90 = [float(row[5]) for row in everything.rows]
    assert len(p90) == 90
    assert p90 == sorted(p90)
    assert [float(row[3].partition("%")[0]) for row in accuracy.rows][::9] == [94, 93, 92, 91, 90]
    assert call(*paths, "-o", tmp_path / "report").exit_code == 0
    assert (tmp_path / "report" / "report.html").stat().st_size < 300_000


def test_slowed_minutes_are_marked(tmp_path: Path) -> None:
    run = latency_run(sustained_minutes=3)
    assert run.sustained is not None
    calm, *others = run.sustained.minutes
    hot = [each.replace(conditions=conditions(throttled=("throttled",), temperature_c=84.0)) for each in others]
    sustained = run.sustained.replace(minutes=[calm, *hot])
    paths = files(tmp_path, latency_results(run.replace(sustained=sustained, invalid=["throttled"])))
    (section,) = [each for each in sections(collect(paths), {}) if each.title == "Without rest"]
    assert section.table is not None
    assert section.table.rows[0][-2:] == ("84", "2")
    assert "INVALID" in section.table.rows[0][1]
    assert section.plots[0].svg.count('class="marked"') == 2


def test_minutes_that_were_cut_short_are_marked(tmp_path: Path) -> None:
    whole, short, none = (latency_run(facts(name), sustained_minutes=3) for name in ("whole", "short", "none"))
    assert short.sustained is not None
    assert none.sustained is not None
    short = short.replace(sustained=short.sustained.replace(minutes=short.sustained.minutes[:1], complete=False))
    none = none.replace(sustained=none.sustained.replace(minutes=(), complete=False))
    collected = collect(files(tmp_path, latency_results(whole, short, none)))
    (section,) = [each for each in sections(collected, {}) if each.title == "Without rest"]
    assert section.table is not None
    assert [row[2] for row in section.table.rows] == ["3 of 3", "1 of 3, CUT SHORT", "0 of 3, CUT SHORT"]


def test_names_from_files_are_only_text(tmp_path: Path) -> None:
    device = "=cmd|<script>alert(1)</script>"
    call(*files(tmp_path, latency_results(environment=environment(device=device))), "-o", tmp_path / "report")
    page, text, table = (
        (tmp_path / "report" / name).read_text() for name in ("report.html", "report.md", "latency.csv")
    )
    assert "<script" not in page
    assert "=cmd\\|" in text
    assert next(csv.DictReader(io.StringIO(table)))["device"] == f"'{device}"
