import shutil
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.dataset import DatasetManifest, Part, load_part, read_dataset, read_prepared
from edge_app.cli import leukoscope
from edge_app.errors import DatasetError
from edge_app.images import read_image
from edge_app.preprocessing import Preprocessing, prepare
from tests.conftest import draw_cells
from train.dataset import build_dataset
from train.drawing import draw_images
from train.splits import split_parts


def parts_of_groups(manifest: DatasetManifest) -> dict[str, set[Part]]:
    parts = defaultdict(set)
    for file in manifest.files:
        parts[file.group].add(file.part)
    return parts


def test_the_merged_task_maps_classes_as_the_paper_does(tiny_dataset: Path) -> None:
    manifest = read_dataset(tiny_dataset)
    assert manifest.classes == ("Cancer", "Normal")
    labels = {(file.source, file.original_class): file.label for file in manifest.files}
    assert labels == {
        ("ALL image dataset", "Benign"): "Normal",
        ("ALL image dataset", "Early"): "Cancer",
        ("ALL image dataset", "Pre"): "Cancer",
        ("ALL image dataset", "Pro"): "Cancer",
        ("ALL-IDB1", "healthy"): "Normal",
        ("ALL-IDB1", "ALL"): "Cancer",
    }


def test_the_stages_task_has_four_classes_and_leaves_all_idb1_out(kaggle_folder: Path, tmp_path: Path) -> None:
    manifest = build_dataset([kaggle_folder], tmp_path / "stages", task="stages")
    assert manifest.classes == ("Benign", "Early", "Pre", "Pro")
    assert {file.source for file in manifest.files} == {"ALL image dataset"}


def test_prepared_images_are_what_the_device_prepares(kaggle_folder: Path, tiny_dataset: Path) -> None:
    manifest = read_dataset(tiny_dataset)
    file = next(file for file in manifest.files if file.original_class == "Pre")
    frame = read_image(kaggle_folder / "all" / "Original" / file.source_file)
    assert (read_prepared(tiny_dataset, file) == prepare(frame, manifest.preprocessing).model_input).all()


def test_every_class_is_split_70_15_15(tiny_dataset: Path) -> None:
    manifest = read_dataset(tiny_dataset)
    shares = Counter((file.original_class, file.part) for file in manifest.files)
    for stage in ("Benign", "Early", "Pre", "Pro"):
        assert [shares[stage, part] for part in ("train", "val", "test")] == pytest.approx([14, 3, 3], abs=1)


def test_the_scene_split_tears_no_group_and_the_random_one_does(kaggle_folder: Path, tmp_path: Path) -> None:
    published = shutil.copytree(kaggle_folder, tmp_path / "published")
    for number in (30, 31, 32, 33, 34, 35):  # the same picture six times is one scene
        draw_cells(published / "all" / "Original" / "Pro" / f"WBC-Malignant-Pro-9{number}.jpg", 3, seed=1)
    scene = build_dataset([published], tmp_path / "scene", split="scene")
    random = build_dataset([published], tmp_path / "random", split="random", seed=3)
    assert max(map(len, parts_of_groups(scene).values())) == 1
    assert max(map(len, parts_of_groups(random).values())) > 1


def test_the_shipped_table_groups_the_published_names(smears: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Original"
    for stage in ("Benign", "Early", "Pre", "Pro"):
        (folder / stage).mkdir(parents=True)
        for path in sorted((smears / "all" / "Original" / stage).glob("*.jpg"))[:60]:
            (folder / stage / path.name).symlink_to(path)
    manifest = build_dataset([folder], tmp_path / "scene", split="scene")
    sizes = Counter(file.group for file in manifest.files)
    assert max(sizes.values()) > 1
    assert max(map(len, parts_of_groups(manifest).values())) == 1


def test_the_same_seed_gives_the_same_data_set_and_another_seed_another(kaggle_folder: Path, tmp_path: Path) -> None:
    hashes = [
        build_dataset([kaggle_folder], tmp_path / str(index), seed=seed).list_sha256()
        for index, seed in enumerate((1, 1, 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), min_size=1, max_size=80),
    st.integers(0, 5),
)
def test_any_grouping_is_kept_whole_by_the_scene_split(images: list[tuple[str, int]], seed: int) -> None:
    strata = [stratum for stratum, _ in images]
    groups = [str(group) for _, group in images]
    parts = split_parts(strata, groups, "scene", seed)
    assert len(parts) == len(images)
    seen: dict[str, str] = {}
    for group, part in zip(groups, parts, strict=True):
        assert seen.setdefault(group, part) == part


def test_a_given_table_decides_what_stays_together(kaggle_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    lines = [f"healthy,Im{number:03}_0.jpg,slide {number % 4}" for number in range(2, 21, 2)]
    table.write_text("\n".join(["class,file,group", *lines]))
    small = Preprocessing(height=64, width=64)
    manifest = build_dataset([kaggle_folder], tmp_path / "d", split="scene", groups=table, preprocessing=small)
    parts = parts_of_groups(manifest)
    assert {group for group in parts if group.startswith("slide")} == {"slide 0", "slide 2"}
    assert max(map(len, parts.values())) == 1


@pytest.mark.parametrize("text", [b"a,b\n1,2\n", b"\xff\xfe", b"class,file,group\nother,x.jpg,1\n"])
def test_a_table_that_is_none_or_of_other_images_is_refused(kaggle_folder: Path, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "groups.csv").write_bytes(text)
    with pytest.raises(DatasetError, match=r"groups\.csv (is no group table|can't be read|names none of the images)"):
        build_dataset([kaggle_folder], tmp_path / "d", groups=tmp_path / "groups.csv")


def test_a_broken_image_stops_the_build_by_name_and_leaves_nothing(kaggle_folder: Path, tmp_path: Path) -> None:
    published = shutil.copytree(kaggle_folder, tmp_path / "published")
    pre = published / "all" / "Original" / "Pre"
    (pre / "WBC-Malignant-Pre-999.jpg").write_bytes((pre / "WBC-Malignant-Pre-001.jpg").read_bytes()[:900])
    with pytest.raises(DatasetError, match=r"Pre-999\.jpg.*mend or remove it"):
        build_dataset([published], tmp_path / "out")
    assert list(tmp_path.iterdir()) == [published]


def test_an_image_that_can_not_be_read_stops_the_build_by_name_and_leaves_nothing(tmp_path: Path) -> None:
    for label in ("Cancer", "Normal"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        draw_cells(tmp_path / "mine" / label / "whole.jpg", 4, seed=1)
    (tmp_path / "mine" / "Cancer" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(DatasetError, match=r"gone\.jpg can't be read"):
        build_dataset([tmp_path / "mine"], tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no data set known here"):
        build_dataset([tmp_path / "empty"], tmp_path / "out")


def test_two_images_of_one_name_are_refused_not_overwritten(kaggle_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(kaggle_folder / "all", tmp_path / "again")
    with pytest.raises(DatasetError, match="give its folder once"):
        build_dataset([kaggle_folder, tmp_path / "again"], tmp_path / "out", split="scene")
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_not_overwritten(tiny_dataset: Path, kaggle_folder: Path) -> None:
    with pytest.raises(DatasetError, match="exists already"):
        build_dataset([kaggle_folder], tiny_dataset)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "im").mkdir()
    draw_cells(tmp_path / "im" / "Im001_1.jpg", 3, seed=0)
    with pytest.raises(DatasetError, match="no image of Normal"):
        build_dataset([tmp_path], tmp_path / "out")


def test_a_prepared_image_that_was_changed_is_refused(kaggle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    manifest = build_dataset([kaggle_folder], folder, preprocessing=Preprocessing(height=64, width=64))
    file = manifest.select("val")[0]
    image = cv2.imread(str(folder / file.path))
    assert image is not None
    cv2.imwrite(str(folder / file.path), image // 2)
    with pytest.raises(DatasetError, match="not the file that was built"):
        load_part(folder, manifest, "val")


def test_the_command_prints_the_counts_beside_the_papers(kaggle_folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(leukoscope, ["dataset", "build", str(kaggle_folder), "-o", str(tmp_path / "d")])
    assert result.exit_code == 0, result.output
    assert "2801" in result.output
    assert "985" in result.output
    assert read_dataset(tmp_path / "d").split == "random"


def test_own_images_are_taken_from_a_folder_a_class_and_groups_stay_together(tmp_path: Path) -> None:
    own = tmp_path / "own"
    draw_images(own, 8)
    rows = [
        f"{label},drawn-{number:04}.png,patient-{number % 4}"
        for label in ("Cancer", "Normal")
        for number in range(1, 9)
    ]
    (own / "groups.csv").write_text("\n".join(["class,file,group", *rows]))
    manifest = build_dataset([own], tmp_path / "built", split="scene")
    assert Counter(file.label for file in manifest.files) == {"Cancer": 8, "Normal": 8}
    parts = parts_of_groups(manifest)  # a patient's images of both classes, too
    assert len(parts) == 4
    assert max(map(len, parts.values())) == 1


def test_a_group_table_without_its_columns_is_told(tmp_path: Path) -> None:
    draw_images(tmp_path / "own", 1)
    (tmp_path / "own" / "groups.csv").write_text("name;patient\na;b\n")
    with pytest.raises(DatasetError, match="columns class, file and group"):
        build_dataset([tmp_path / "own"], tmp_path / "built")


def test_a_group_table_that_names_none_of_the_images_is_told(tmp_path: Path) -> None:
    draw_images(tmp_path / "own", 1)
    (tmp_path / "own" / "groups.csv").write_text("class,file,group\nCancer,Cancer/drawn-0001.png,a\n")
    with pytest.raises(DatasetError, match=r"groups\.csv names none of the images"):
        build_dataset([tmp_path / "own"], tmp_path / "built", split="scene")


def test_images_without_the_studys_stain_are_refused(tmp_path: Path) -> None:
    for label in ("Cancer", "Normal"):
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in range(5):
            draw_cells(tmp_path / "own" / label / f"{number}.jpg", 0, seed=number)
    with pytest.raises(DatasetError, match="all would be black"):
        build_dataset([tmp_path / "own"], tmp_path / "built")
    assert not list(tmp_path.glob("built*"))


def test_drawn_images_are_the_same_again_and_differ_by_seed(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        result = CliRunner().invoke(
            leukoscope, ["dataset", "draw", str(tmp_path / name), "--images", "1", "--seed", str(seed)]
        )
        assert result.exit_code == 0, result.output
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).rglob("*.png"))])
    assert contents[0] == contents[1] != contents[2]
    with pytest.raises(DatasetError, match="exists already"):
        draw_images(tmp_path / "a", 1)
