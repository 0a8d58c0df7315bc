import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from edge_app.cli import leukoscope
from edge_app.errors import DatasetError
from edge_app.preprocessing import Image, Preprocessing
from edge_app.slides import Kind
from edge_app.smears import draw_smear
from tests.browser import chromium, looking
from train.audit import Audit, audit
from train.audit_files import LabelledFile, read_file
from train.audit_page import verdicts
from train.dataset import build_dataset
from train.probes import probe_features, run_probes
from train.scenes import Overlap, connected, describe, find_overlaps

DEEP = np.eye(30, dtype=np.uint16)[..., None] * np.array([9, 999, 65535], np.uint16)  # 16 bits a channel


def field(seed: int) -> Image:
    """A drawn field of 480 × 480 pixels whose red cells are as large as in the ALL image dataset."""
    return draw_smear(seed, kind="leukaemic", height=480, width=480, cell_px=18).image


def crop(frame: Image, left: int, top: int, side: int = 224) -> Image:
    return np.ascontiguousarray(frame[top : top + side, left : left + side])


def with_scale_bar(image: Image) -> Image:
    """The image with what a camera program burns into its corner."""
    marked = image.copy()
    cv2.rectangle(marked, (168, 196), (223, 223), (255, 255, 255), -1)
    cv2.putText(marked, "200 px", (170, 210), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.line(marked, (172, 217), (220, 217), (0, 0, 0), 2)
    return marked


def overlaps(*images: Image) -> list[Overlap]:
    return find_overlaps([describe(image) for image in images], lambda *_: None)


def save(path: Path, image: cv2.typing.MatLike) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture(scope="module")
def fields() -> list[Image]:
    return [field(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fields: list[Image]) -> Path:
    """A folder a class, with one flaw of each kind in it."""
    folder = tmp_path_factory.mktemp("own")
    for number, frame in enumerate(fields):
        save(folder / "blast" / f"{number}.png", crop(frame, 0, 0))
        save(folder / "normal" / f"{number}.png", 255 - crop(frame, 256, 256))
    save(folder / "blast" / "moved.png", crop(fields[0], 60, 40))
    shutil.copy(folder / "blast" / "1.png", folder / "normal" / "copy.png")
    save(folder / "blast" / "again.tiff", crop(fields[2], 0, 0))
    (folder / "normal" / "cut.png").write_bytes((folder / "normal" / "1.png").read_bytes()[:4000])
    save(folder / "normal" / "small.png", 255 - crop(fields[3], 240, 0, side=200))
    return folder


@pytest.fixture(scope="module")
def audited(folder: Path) -> Audit:
    return audit([folder], "normal-cancer").audit


def named(found: Audit, *indices: int) -> set[str]:
    return {f"{found.files[index].original_class}/{found.files[index].name}" for index in indices}


# Files


@pytest.mark.parametrize(
    ("name", "write", "oddity"),
    [
        ("a.jpg", lambda path: Pillow.new("CMYK", (40, 30), (9, 99, 9, 0)).save(path), "CMYK"),
        ("a.png", lambda path: Pillow.effect_noise((40, 30), 50).convert("RGBA").save(path), "alpha channel"),
        ("a.png", lambda path: Pillow.effect_noise((40, 30), 50).save(path), "grey"),
        ("a.jpg", lambda path: Pillow.effect_noise((40, 30), 50).save(path), "grey"),
        ("a.png", lambda path: save(path, DEEP), "16 bits"),
        ("a.tif", lambda path: save(path, DEEP), "16 bits"),
        ("a.jpg", lambda path: Pillow.radial_gradient("L").convert("RGB").save(path, "PNG"), "a PNG file"),
        ("a.png", lambda path: Pillow.radial_gradient("L").convert("P").save(path), "palette"),
        ("a.png", lambda path: Pillow.new("RGB", (40, 30), (9, 99, 9)).save(path), "one colour"),
        (
            "a.tiff",
            lambda path: Pillow.new("RGB", (9, 9)).save(path, save_all=True, append_images=[Pillow.new("RGB", (9, 9))]),
            "several pages",
        ),
    ],
)
def test_an_odd_file_is_called_by_what_is_odd_about_it(
    tmp_path: Path, name: str, write: Callable[[Path], None], oddity: str
) -> None:
    write(tmp_path / name)
    facts, frame = read_file(LabelledFile(tmp_path / name, name, "own", "a", "a"))
    assert frame is not None
    assert any(each.startswith(oddity) for each in facts.oddities), facts.oddities


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_a_plain_file_of_any_kind_is_not_odd(tmp_path: Path, suffix: str, fields: list[Image]) -> None:
    path = save(tmp_path / f"plain{suffix}", crop(fields[0], 0, 0))
    facts, _ = read_file(LabelledFile(path, path.name, "own", "a", "a"))
    assert (facts.oddities, facts.error, facts.width, facts.height) == ((), None, 224, 224)


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_of_any_kind_is_reported_and_never_stops_the_audit(
    tmp_path: Path, data: st.DataObject, fields: list[Image]
) -> None:
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".tif", ".bmp", ".webp"]))
    content = bytearray(cv2.imencode(suffix, crop(fields[0], 0, 0, side=40))[1].tobytes())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / f"x{suffix}").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    facts, frame = read_file(LabelledFile(tmp_path / f"x{suffix}", "x", "own", "a", "a"))
    assert (frame is None) == (facts.error is not None)


def test_broken_files_and_unlike_sizes_are_found_among_sound_ones(audited: Audit) -> None:
    flaws = {f"{file.original_class}/{file.name}": file.facts for file in audited.flawed}
    assert set(flaws) == {"normal/cut.png", "normal/small.png"}
    assert "cut short" in (flaws["normal/cut.png"].error or "")
    assert flaws["normal/small.png"].oddities[0].startswith("200×200 pixels, where most")


# Duplicates


def test_copies_are_found_across_classes_and_kinds_of_file(audited: Audit) -> None:
    found = {
        (frozenset(named(audited, *each.files)), each.equal_bytes, each.across_classes) for each in audited.duplicates
    }
    assert found == {
        (frozenset({"blast/1.png", "normal/copy.png"}), True, True),
        (frozenset({"blast/2.png", "blast/again.tiff"}), False, False),
    }


# Scenes


def test_overlapping_crops_of_a_field_share_a_scene_and_others_do_not(audited: Audit) -> None:
    assert {frozenset(f"{file.original_class}/{file.name}" for file in scene) for scene in audited.scenes()} == {
        frozenset({"blast/0.png", "blast/moved.png"}),
        frozenset({"blast/1.png", "normal/copy.png"}),
        frozenset({"blast/2.png", "blast/again.tiff"}),
    }


def test_an_overlap_says_where_the_one_lies_in_the_other(fields: list[Image]) -> None:
    (found,) = overlaps(crop(fields[0], 0, 0), crop(fields[0], 90, 30))
    np.testing.assert_allclose(found.transform, [[1, 0, -90], [0, 1, -30]], atol=0.6)
    assert found.share == pytest.approx((1 - 90 / 224) * (1 - 30 / 224), abs=0.02)
    assert found.correlation > 0.95


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: np.rot90(image).copy(),
        lambda image: cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA),
        lambda image: cv2.convertScaleAbs(image, alpha=0.7, beta=20),
        lambda image: cv2.GaussianBlur(image, (0, 0), 1.2),
    ],
)
def test_a_scene_is_known_turned_shrunk_darkened_or_blurred(
    fields: list[Image], changed: Callable[[Image], Image]
) -> None:
    assert len(overlaps(crop(fields[1], 0, 0), changed(crop(fields[1], 70, 50)))) == 1


def test_a_burned_in_scale_bar_joins_no_scenes(fields: list[Image]) -> None:
    assert overlaps(*(with_scale_bar(crop(frame, 0, 0)) for frame in fields)) == []


def test_images_without_features_have_no_scene_and_do_no_harm(fields: list[Image]) -> None:
    blank = np.full((64, 64, 3), 230, np.uint8)
    assert overlaps() == overlaps(blank) == overlaps(blank, blank, crop(fields[0], 0, 0)) == []


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_groups_are_what_pairs_connect_numbered_as_they_come(pairs: list[tuple[int, int]]) -> None:
    numbers = connected(20, pairs)
    assert all(numbers[first] == numbers[second] for first, second in pairs)
    assert len(set(numbers)) >= 20 - len(pairs)
    assert sorted(set(numbers), key=numbers.index) == list(range(max(numbers) + 1))


# Probes


@pytest.fixture(scope="module")
def noise() -> list[Image]:
    generator = np.random.default_rng(1)
    return [generator.integers(120, 130, (32, 32, 3), np.uint8) for _ in range(160)]


def test_random_labels_are_told_by_chance(noise: list[Image]) -> None:
    labels = np.random.default_rng(2).permutation(["a", "b"] * 80).tolist()
    found = run_probes([probe_features(image) for image in noise], labels, list(range(160)), lambda *_: None)
    assert [each.name for each in found if each.gives_away] == []
    assert {each.chance for each in found} == {0.5}


@pytest.mark.parametrize(
    ("leak", "names"),
    [
        (lambda image: image + np.uint8(4), {"mean colour", "mean and spread of colour"}),
        (lambda image: image[:, :30], {"size of the image"}),
        (lambda image: cv2.rectangle(image.copy(), (28, 29), (31, 30), (126, 126, 126), -1), {"bottom right corner"}),
    ],
)
def test_a_label_that_leaks_is_told_by_the_probe_that_sees_it(
    noise: list[Image], leak: Callable[[Image], Image], names: set[str]
) -> None:
    labels = ["a", "b"] * 80
    images = [leak(image) if label == "a" else image for image, label in zip(noise, labels, strict=True)]
    found = run_probes([probe_features(image) for image in images], labels, list(range(160)), lambda *_: None)
    assert {each.name.partition(",")[0] for each in found if each.gives_away} == names


def test_what_only_a_scene_gives_away_is_told_at_random_and_not_by_scene() -> None:
    generator = np.random.default_rng(3)
    images, labels, groups = [], [], []
    for scene in range(20):  # each scene has a colour of its own, and a label by lot
        colour = generator.integers(60, 200, 3)
        for _ in range(6):
            images.append(np.clip(colour + generator.integers(-2, 3, (32, 32, 3)), 0, 255).astype(np.uint8))
            labels.append("ab"[scene % 2])
            groups.append(scene)
    found = run_probes([probe_features(image) for image in images], labels, groups, lambda *_: None)
    colour_probe = next(each for each in found if each.name == "mean colour")
    assert colour_probe.balanced_at_random > 0.9
    assert colour_probe.balanced_by_scene < 0.75


def test_a_class_of_one_scene_is_not_probed() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert run_probes([probe_features(image)] * 4, ["a", "a", "b", "b"], [0, 1, 2, 2], lambda *_: None) == []


# Layouts


def test_a_published_data_set_and_what_was_built_from_it_are_audited(kaggle_folder: Path, tiny_dataset: Path) -> None:
    published = audit([kaggle_folder], "normal-cancer").audit
    assert {file.original_class for file in published.files} == {"Benign", "Early", "Pre", "Pro", "healthy", "ALL"}
    assert {file.label for file in published.files} == {"Cancer", "Normal"}
    built = audit([tiny_dataset], "normal-cancer").audit
    assert {file.part for file in built.files} == {"train", "val", "test"}
    assert sorted(file.name for file in built.files) == sorted(file.name for file in published.files)


def test_a_built_data_set_whose_parts_share_scenes_is_told_so(tmp_path: Path) -> None:
    kinds: dict[str, Kind] = {"Cancer": "leukaemic", "Normal": "healthy"}
    for label, kind in kinds.items():
        for number in range(8):
            picture = draw_smear(number, kind=kind, height=96, width=96, cell_px=12).image
            save(tmp_path / "own" / label / f"{number}.png", picture)
            save(tmp_path / "own" / label / f"{number}-again.tiff", picture)
    small = Preprocessing(height=64, width=64)
    build_dataset([tmp_path / "own"], tmp_path / "built", split="random", preprocessing=small)
    found = audit([tmp_path / "built"], "normal-cancer").audit
    torn = sum(len({file.part for file in scene}) > 1 for scene in found.scenes())
    assert torn > 0
    assert f"Scenes torn between parts: {torn}. The test part holds what was trained on." in verdicts(found)


def test_slides_of_the_owners_table_stay_together(tmp_path: Path, fields: list[Image]) -> None:
    for number, frame in enumerate(fields):
        save(tmp_path / ("Cancer" if number % 2 else "Normal") / f"{number}.png", crop(frame, 0, 0))
    (tmp_path / "groups.csv").write_text("class,file,group\nCancer,1.png,slide 7\nCancer,5.png,slide 7\n")
    (scene,) = audit([tmp_path], "normal-cancer").audit.scenes()
    assert {file.name for file in scene} == {"1.png", "5.png"}


def test_an_owners_table_that_can_not_be_read_is_not_passed_over(tmp_path: Path, fields: list[Image]) -> None:
    for number, frame in enumerate(fields):
        save(tmp_path / ("Cancer" if number % 2 else "Normal") / f"{number}.png", crop(frame, 0, 0))
    (tmp_path / "groups.csv").write_text("class;file;group\nCancer;1.png;slide 7\n")
    with pytest.raises(DatasetError, match="is no group table"):
        audit([tmp_path], "normal-cancer")


def test_a_folder_of_one_class_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no images of known class"):
        audit([tmp_path], "normal-cancer")
    save(tmp_path / "only" / "a.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DatasetError, match="are of the class only; name the folder above"):
        audit([tmp_path], "normal-cancer")


# The command


def test_the_command_writes_a_private_page_a_table_and_json(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "audit"
    result = CliRunner().invoke(leukoscope, ["dataset", "audit", str(folder), "-o", str(output), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["overlaps"]) == 1
    assert str(folder.parent) not in result.stdout
    rows = list(csv.DictReader((output / "groups.csv").read_text("utf-8").splitlines()))
    groups = {(row["class"], row["file"]): row["group"] for row in rows}
    assert groups["blast", "0.png"] == groups["blast", "moved.png"] != groups["blast", "3.png"]
    assert len(rows) == len(found["files"])
    assert sorted(path.name for path in output.iterdir()) == ["audit.html", "groups.csv"]
    assert (output / "audit.html").stat().st_mode & 0o077 == 0
    with chromium() as browser, looking(browser, (output / "audit.html").as_uri()) as page:
        assert "Do not pass it on" in page.locator("header").inner_text()
        assert "DIFFERENT CLASSES. The same file" in page.locator("main").inner_text()
        broken = "images => images.filter(image => image.naturalWidth === 0).length"
        assert page.locator("img").evaluate_all(broken) == 0
        assert page.locator("img").count() == 6
        page.screenshot(path=os.environ.get("AUDIT_PNG") or tmp_path / "page.png", full_page=True)


def test_a_folder_that_cant_be_written_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(leukoscope, ["dataset", "audit", str(folder), "-o", str(tmp_path / "file" / "audit")])
    assert "give --output a folder of yours" in str(result.exception)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_audit_says_how_far_it_was_and_leaves_nothing(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    images = tmp_path / "many"
    for label in ("a", "b"):
        (images / label).mkdir(parents=True)
        for index in range(2000):
            (images / label / f"{index}.png").symlink_to(folder / "blast" / f"{index % 6}.png")
    command = ["-m", "edge_app", "dataset", "audit", str(images), "-o", str(tmp_path / "audit")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(6)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "audit stopped while " in said
    assert "nothing was written" in said
    assert not (tmp_path / "audit").exists()
