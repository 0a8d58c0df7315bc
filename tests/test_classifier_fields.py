"""Frames that show more, or less, than a field, judged by a bundle that has a scale."""

import json
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.bundle import default_bundle_path, open_bundle, write_bundle
from edge_app.cameras import Frame
from edge_app.cameras.demo import FOLDER
from edge_app.classifier import Classifier, Verdict
from edge_app.cli import leukoscope
from edge_app.images import read_image
from edge_app.preprocessing import Image, stain_mask
from edge_app.scale import Ruler
from tests.bundles import with_scale


def a_field(kind: str, number: int) -> Image:
    """A shipped demo frame at 640 × 480 pixels, which its model calls as it was drawn."""
    return np.asarray(cv2.resize(read_image(FOLDER / f"{kind}-{number}.jpg"), (640, 480), interpolation=cv2.INTER_AREA))


HEALTHY, LEUKAEMIC = a_field("healthy", 1), a_field("leukaemic", 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scaled") / "scaled.leuko"
    write_bundle(path, with_scale(open_bundle(default_bundle_path())))
    return path


@pytest.fixture(scope="module")
def classifier(bundle: Path) -> Classifier:
    return Classifier(open_bundle(bundle), threads=1)


def judged(classifier: Classifier, image: Image, um_per_pixel: float | None = None) -> Verdict:
    return classifier.judge(Frame(image, 0, 0, datetime.now(UTC), "drawn", 0.0, {}), Ruler(um_per_pixel))


def test_a_frame_of_one_field_is_judged_as_without_a_scale(classifier: Classifier) -> None:
    plain = Classifier(open_bundle(default_bundle_path()), threads=1)
    plain.manifest = plain.manifest.replace(scale=None)
    for image in (HEALTHY, LEUKAEMIC):
        verdict, without = judged(classifier, image), judged(plain, image)
        assert [field.box for field in verdict.fields] == [(0, 0, 640, 480)]
        assert verdict.judgement == without.judgement
        assert verdict.quality == without.quality
        assert (verdict.mask == without.mask).all()
        assert verdict.red_cells is not None
        assert without.red_cells is None


def test_a_frame_of_four_fields_is_cancer_by_the_one_that_is(classifier: Classifier) -> None:
    frame = np.vstack([np.hstack([HEALTHY, HEALTHY]), np.hstack([HEALTHY, LEUKAEMIC])])
    verdict = judged(classifier, frame)
    assert len(verdict.fields) == 4
    assert [field.judgement.label for field in verdict.fields] == ["Normal", "Normal", "Normal", "Cancer"]
    assert (verdict.judgement.label, verdict.worst, verdict.positive_share) == ("Cancer", 3, 0.25)
    assert verdict.judgement == verdict.fields[3].judgement
    assert (verdict.mask == stain_mask(frame, classifier.manifest.preprocessing)).mean() > 0.999
    line = json.loads(json.dumps(verdict.as_json()))
    assert (line["label"], line["positive_share"], line["worst_field"]) == ("Cancer", 0.25, 3)
    assert [field["label"] for field in line["fields"]] == ["Normal"] * 3 + ["Cancer"]
    assert line["fields"][3]["box"][:2] == pytest.approx([640, 480], abs=24)
    assert line["scale"]["um_per_pixel"] == pytest.approx(7.5 / line["scale"]["red_cell_px"], rel=0.01)


def test_a_field_without_a_stained_cell_does_not_count(classifier: Classifier) -> None:
    red_cells_only = HEALTHY.copy()
    stained = cv2.dilate(stain_mask(HEALTHY, classifier.manifest.preprocessing), np.ones((25, 25), np.uint8)) > 0
    red_cells_only[stained] = (250, 250, 250)
    verdict = judged(classifier, np.hstack([red_cells_only, LEUKAEMIC]))
    assert [field.judgement.indeterminate for field in verdict.fields] == ["no_stained_cell", None]
    assert (verdict.judgement.label, verdict.positive_share) == ("Cancer", 1)
    empty = judged(classifier, np.hstack([red_cells_only, red_cells_only]))
    assert (empty.judgement.label, empty.judgement.indeterminate) == (None, "no_stained_cell")
    assert (empty.positive_share, empty.worst) == (None, None)


def enlarged(image: Image, factor: float) -> Image:
    """The middle of a frame of 640 × 480 pixels under a stronger objective."""
    height, width = round(480 / factor), round(640 / factor)
    top, left = (480 - height) // 2, (640 - width) // 2
    part = image[top : top + height, left : left + width]
    return np.asarray(cv2.resize(part, (640, 480), interpolation=cv2.INTER_CUBIC))


def test_less_than_a_field_is_judged_at_its_scale(classifier: Classifier) -> None:
    for image, label in ((HEALTHY, "Normal"), (LEUKAEMIC, "Cancer")):
        verdict = judged(classifier, enlarged(image, 1.5))
        assert [field.box for field in verdict.fields] == [(0, 0, 640, 480)]
        assert verdict.judgement.label == label


def test_next_to_nothing_of_a_field_is_indeterminate_for_its_scale(classifier: Classifier) -> None:
    assert judged(classifier, enlarged(LEUKAEMIC, 2.4)).judgement.indeterminate == "scale_out_of_range"
    assert judged(classifier, LEUKAEMIC, um_per_pixel=0.05).judgement.indeterminate == "scale_out_of_range"


def test_a_stained_cell_without_red_cells_around_it_is_of_unknown_scale(classifier: Classifier) -> None:
    frame = np.full((480, 640, 3), 245, np.uint8)
    left, top, width, height = max(judged(classifier, LEUKAEMIC).cells, key=lambda cell: cell.area).box
    frame[200 : 200 + height, 300 : 300 + width] = LEUKAEMIC[top : top + height, left : left + width]
    verdict = judged(classifier, frame)
    assert verdict.judgement.indeterminate == "scale_unknown"
    assert verdict.as_json()["scale"] is None


def test_classify_cuts_measures_or_takes_the_scale_that_it_is_given(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.png"
    cv2.imwrite(str(path), np.hstack([HEALTHY, LEUKAEMIC]))

    def said(*options: str) -> str:
        result = CliRunner().invoke(leukoscope, ["classify", str(path), "--bundle", str(bundle), *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "Cancer" in said()
    assert "(fields: 1 Cancer, 1 Normal)" in said()
    assert len(json.loads(said("--json", "--um-per-pixel", "0.21"))["fields"]) == 2
    assert json.loads(said("--json", "--um-per-pixel", "0.02"))["indeterminate"] == "scale_out_of_range"
