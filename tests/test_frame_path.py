import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import frame_path
from benchmarks.frame_path import FramePath, PrepareCost, VerdictCost, measure
from benchmarks.results import FrameSize
from edge_app.bundle import default_bundle_path
from edge_app.errors import InferenceError
from edge_app.preprocessing import Preprocessing, prepare
from tests.conftest import draw_cells

SMALL = FrameSize(width=320, height=240)


def test_the_costs_of_a_size_are_told_with_what_they_are_compared_to(tmp_path: Path) -> None:
    draw_cells(tmp_path / "cells.png", 6, seed=1, side=400)
    first, *others = measure(default_bundle_path(), SMALL, tmp_path, count=1, rounds=3)
    assert isinstance(first, PrepareCost)
    assert (first.size, first.cores) == (SMALL, len(os.sched_getaffinity(0)))
    for cost in (first.read, first.plain, first.prepare):
        assert 0 < cost.min_ms <= cost.p50_ms
    assert first.read.min_ms < first.plain.min_ms
    assert {each.threads for each in others if isinstance(each, VerdictCost)} == {1, first.cores}
    for each in others:
        assert isinstance(each, VerdictCost)
        assert each.model.min_ms < each.verdict.min_ms
        assert each.inferences == 1


def test_a_prepare_that_gives_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Preprocessing(hsv_low=(135, 50, 50))
    monkeypatch.setattr(frame_path, "prepare", lambda frame, record: prepare(frame, other))  # noqa: ARG005
    with pytest.raises(InferenceError, match="differs from the plain sequence"):
        measure(default_bundle_path(), SMALL, None, count=1, rounds=1)


def test_the_command_measures_one_core_and_all_and_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_path, "SIZES", (SMALL,))
    output = tmp_path / "frame-path.json"
    done = CliRunner().invoke(frame_path.main, ["--rounds", "1", "--frames", "1", "--output", str(output)])
    assert done.exit_code == 0, done.output
    results = FramePath.model_validate(json.loads(output.read_text()))
    cores = len(os.sched_getaffinity(0))
    assert {each.cores for each in results.prepare} == {1, cores}
    assert {(each.cores, each.threads) for each in results.verdict} == {(1, 1), (cores, 1), (cores, cores)}
    for ratio in [each.ratio for each in results.prepare] + [each.ratio for each in results.verdict]:
        assert f"**{ratio:.2f}**" in done.output


def test_frames_are_prepared_without_new_pages_from_the_kernel() -> None:
    """In a process of its own, as what else was freed in this one counts, too."""
    program = """
import resource, cv2
from edge_app.preprocessing import Preprocessing, prepare
from edge_app.smears import draw_smear
frame = cv2.resize(draw_smear(1, kind="leukaemic", height=240, width=320).image, (1280, 960))
def faults():
    for _ in range(10):
        prepare(frame, Preprocessing())
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print((-faults() + faults()) / 10)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 50
