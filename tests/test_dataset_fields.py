"""`dataset build --fields`, on drawn images in the layouts of both published data sets."""

import json
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.dataset import MANIFEST, DatasetManifest, read_dataset
from benchmarks.labelled import find_labelled
from edge_app.cli import leukoscope
from edge_app.errors import DatasetError
from edge_app.fields import part
from edge_app.images import read_image
from edge_app.preprocessing import Preprocessing, prepare
from edge_app.scale import TOLERANCE, Scale
from edge_app.slides import Kind
from edge_app.smears import draw_smear
from export.export import make_bundle, open_run
from train.dataset import NO_BLAST, NO_CELL, NO_SCALE, build_dataset

FRAMES = 8


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squashed fields of 4:3, and frames of about two fields by two, half of which have blasts on the left only."""
    folder = tmp_path_factory.mktemp("drawn")
    for stage in ("Benign", "Early", "Pre", "Pro"):
        target = folder / "all" / "Original" / stage
        target.mkdir(parents=True)
        for seed in range(5):
            kind: Kind = "healthy" if stage == "Benign" else "leukaemic"
            field = draw_smear(seed + 10 * len(stage), kind=kind, height=360, width=480, cell_px=28).image
            cv2.imwrite(
                str(target / f"{stage}-{seed}.png"), cv2.resize(field, (224, 224), interpolation=cv2.INTER_AREA)
            )
    for name in ("im", "xyc"):
        (folder / "idb" / name).mkdir(parents=True)
    for seed in range(FRAMES):
        kind = "leukaemic" if seed % 2 else "healthy"
        smear = draw_smear(seed, kind=kind, look="dim", height=720, width=960, cell_px=29)
        stem = f"Im{seed:03}_{seed % 2}"
        cv2.imwrite(str(folder / "idb" / "im" / f"{stem}.jpg"), smear.image)
        blasts = [cell for cell in smear.nucleated if cell.x < 400] if seed % 2 else []
        (folder / "idb" / "xyc" / f"{stem}.xyc").write_text("".join(f"{b.x:.0f}\t{b.y:.0f}\n" for b in blasts))
    return folder


@pytest.fixture(scope="module")
def built(published: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetManifest]:
    folder = tmp_path_factory.mktemp("built") / "fields"
    return folder, build_dataset([published], folder, split="scene", fields=True)


def test_frames_are_cut_and_images_of_the_training_scale_are_not(built: tuple[Path, DatasetManifest]) -> None:
    _, manifest = built
    assert manifest.fields
    assert manifest.scale is not None
    assert manifest.scale.pixel_aspect == pytest.approx(4 / 3, abs=0.01)
    assert manifest.scale.red_cell_px == pytest.approx(0.965 * 28 * 224 / 480, rel=0.05)
    for file in manifest.files:
        assert (file.box is None) == (file.source == "ALL image dataset")
        assert file.red_cell_px == pytest.approx(manifest.scale.red_cell_px, rel=0.12)


def test_a_field_holds_what_its_box_shows_prepared_and_raw(
    built: tuple[Path, DatasetManifest], published: Path
) -> None:
    folder, manifest = built
    file = next(file for file in manifest.files if file.box)
    assert file.box is not None
    field = part(read_image(published / "idb" / file.frame), file.box)
    prepared = cv2.cvtColor(read_image(folder / file.path), cv2.COLOR_BGR2RGB)
    assert (prepared == prepare(field, manifest.preprocessing).model_input[0]).all()
    kept = cv2.resize(field, (448, field.shape[0]), interpolation=cv2.INTER_AREA)  # at most twice 224 × 224
    assert (read_image(folder / file.raw) == kept).all()


def test_fields_of_an_all_frame_are_cancer_where_a_blast_is_marked_and_left_out_elsewhere(
    built: tuple[Path, DatasetManifest],
) -> None:
    _, manifest = built
    frames = [file for file in manifest.files if file.source == "ALL-IDB1"]
    assert {(file.original_class, file.label) for file in frames} == {("ALL", "Cancer"), ("healthy", "Normal")}
    assert all(file.box and file.box[0] < 400 for file in frames if file.label == "Cancer")
    assert manifest.left_out[NO_BLAST] >= 4
    healthy = sum(file.original_class == "healthy" for file in frames)
    assert healthy + manifest.left_out.get(NO_CELL, 0) >= FRAMES // 2 * 4


def test_the_fields_of_a_frame_stay_in_one_part(published: Path, tmp_path: Path) -> None:
    for split in ("random", "scene"):
        manifest = build_dataset([published], tmp_path / split, split=split, fields=True)
        parts = defaultdict(set)
        for file in manifest.files:
            parts[file.frame].add(file.part)
        assert max(map(len, parts.values())) == 1


def test_a_frame_that_holds_less_than_a_field_is_left_out(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "with")
    small = read_image(published / "idb" / "im" / "Im000_0.jpg")[:200, :300]
    cv2.imwrite(str(tmp_path / "with" / "idb" / "im" / "Im900_0.jpg"), small)
    manifest = build_dataset([tmp_path / "with"], tmp_path / "out", fields=True)
    assert manifest.left_out[NO_SCALE] == 1
    assert not [file for file in manifest.files if "Im900" in file.frame]


def test_without_fields_frames_stay_whole_and_their_scale_is_told(published: Path, tmp_path: Path) -> None:
    manifest = build_dataset([published], tmp_path / "whole")
    frames = [file for file in manifest.files if file.source == "ALL-IDB1"]
    assert len(frames) == FRAMES
    assert not manifest.fields
    assert all(file.box is None and file.red_cell_px for file in frames)
    assert np.median([file.red_cell_px for file in frames if file.red_cell_px]) == pytest.approx(6.5, rel=0.1)


def test_the_training_scale_is_proportional_to_the_models_input(published: Path, tmp_path: Path) -> None:
    scales = [
        build_dataset([published], tmp_path / str(side), preprocessing=Preprocessing(height=side, width=side)).scale
        for side in (112, 224)
    ]
    assert scales[0] is not None
    assert scales[1] is not None
    assert scales[1].red_cell_px == pytest.approx(2 * scales[0].red_cell_px, rel=0.01)


def test_blasts_that_are_not_marked_stop_the_build_before_anything_is_written(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "without", ignore=shutil.ignore_patterns("xyc"))
    with pytest.raises(DatasetError, match=r"Im001_1\.xyc is missing.*xyc beside im"):
        build_dataset([tmp_path / "without"], tmp_path / "out", fields=True)
    (tmp_path / "without" / "idb" / "xyc").mkdir()
    for path in (published / "idb" / "xyc").iterdir():
        (tmp_path / "without" / "idb" / "xyc" / path.name).write_text("12\n")
    with pytest.raises(DatasetError, match="an x and a y a line"):
        build_dataset([tmp_path / "without"], tmp_path / "out", fields=True)
    assert [path.name for path in tmp_path.iterdir()] == ["without"]


def test_fields_need_the_images_whose_scale_they_are_to_have(published: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="as those of the ALL image dataset"):
        build_dataset([published / "idb"], tmp_path / "out", fields=True)


def test_a_data_set_of_an_older_format_is_refused_with_a_sentence(
    built: tuple[Path, DatasetManifest], tmp_path: Path
) -> None:
    old = json.loads((built[0] / MANIFEST).read_text("utf-8")) | {"format_version": 1}
    (tmp_path / MANIFEST).write_text(json.dumps(old), "utf-8")
    with pytest.raises(DatasetError, match=r"of format 1.*build it again with leukoscope dataset build"):
        read_dataset(tmp_path)
    (tmp_path / MANIFEST).write_text("[]", "utf-8")
    with pytest.raises(DatasetError, match="no manifest of a data set"):
        read_dataset(tmp_path)


def test_the_command_tells_the_scale_and_what_was_left_out(published: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        leukoscope, ["dataset", "build", str(published), "--fields", "--output", str(tmp_path / "d")]
    )
    assert result.exit_code == 0, result.output
    assert f"× {NO_BLAST}" in result.output
    assert "scale: red cells 12." in result.output


def test_a_bundle_carries_the_scale_of_a_run_on_fields_and_none_of_another(tiny_run: Path) -> None:
    run = open_run(tiny_run, calibration_images=4, seed=0)
    scale = Scale(red_cell_px=13.6, pixel_aspect=4 / 3, um_per_pixel=0.55, tolerance=0.1)
    on_fields = replace(run, dataset=run.dataset.replace(fields=True, scale=scale))
    assert make_bundle(run, "onnx", "fp32").manifest.scale is None
    assert make_bundle(on_fields, "onnx", "fp32").manifest.scale == scale.replace(tolerance=TOLERANCE)


def test_the_fields_of_a_frame_are_judged_from_its_file_as_one_image(
    built: tuple[Path, DatasetManifest], published: Path
) -> None:
    folder, manifest = built
    labelled = find_labelled(folder, manifest.task, manifest.classes, "all", published)
    frames = {(file.frame, file.label) for file in manifest.files}
    assert sorted((image.name, image.label) for image in labelled.images) == sorted(frames)
    assert labelled.data.images == dict(Counter(label for _, label in frames))
