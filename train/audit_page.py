"""What an audit found, as the sections of a page with pictures, and the table of scene groups."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from benchmarks.page import Column, Picture, Section, Table, html
from edge_app import disk
from edge_app.errors import InputError
from edge_app.images import read_image
from edge_app.preprocessing import Image
from train.audit import Audit, Audited, AuditedFile, OverlapFound
from train.scenes import working_image

TITLE = "Data set audit"
NOTICE = (
    "Private: this page holds pictures of the data set. Do not pass it on or publish it: most owners of such images, "
    "those of the ALL image dataset among them, ask that they be not redistributed."
)
MOST_PICTURES = 40  # of a section
MOST_ROWS = 200  # of a table
PICTURE_PX = 224  # longest side
OUTLINE = (0, 150, 0)  # B, G, R


def write_audit(audited: Audited, folder: Path) -> list[str]:
    """Write audit.html, which its owner alone may read, and groups.csv into a folder; return `verdicts`.

    Both files appear whole, one after the other, or neither does. Raises InputError when the folder refuses.
    """
    audit = audited.audit
    texts = {
        "groups.csv": group_table(audit),
        "audit.html": html(TITLE, sections(audited), audit.created_at, NOTICE),
    }
    partials = [folder / f"{name}.partial" for name in texts]
    try:
        with _in_words(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for partial, text in zip(partials, texts.values(), strict=True):
                partial.touch(0o600 if partial.name.startswith("audit") else 0o666)
                partial.write_text(text, "utf-8")
            for partial in partials:
                partial.replace(partial.with_suffix(""))
    finally:
        for partial in partials:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    return verdicts(audit)


def check_folder(folder: Path) -> None:
    """Raise InputError where `write_audit` could not write, before minutes are spent; nothing is left there."""
    with _in_words(folder):
        disk.check_folder(folder)


def sections(audited: Audited) -> list[Section]:
    """Return the page's sections; reads the images that are shown again."""
    audit = audited.audit
    return [
        _summary(audit),
        _files(audit),
        _duplicates(audited),
        _scenes(audited),
        _balance(audit),
        _sizes(audit),
        _probes(audit),
    ]


def group_table(audit: Audit) -> str:
    """Return the groups as CSV, a row for each image: class,file,group. Images of one group show one scene."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("class", "file", "group"))
    writer.writerows(dict.fromkeys((file.original_class, file.name, file.group) for file in audit.files))
    return text.getvalue()


def verdicts(audit: Audit) -> list[str]:
    """Return what is to be known of the data set, a sentence each."""
    broken = sum(file.facts.error is not None for file in audit.files)
    copies = sum(len(each.files) - 1 for each in audit.duplicates)
    scenes = audit.scenes()
    crossing = sum(len({file.label for file in scene}) > 1 for scene in scenes)
    torn = sum(len({file.part for file in scene}) > 1 for scene in scenes)
    telling = [probe for probe in audit.probes if probe.gives_away]
    return [
        f"{len(audit.files)} images of {len({file.label for file in audit.files})} classes.",
        f"Files that can't be read: {broken}; odd ones: {len(audit.flawed) - broken}.",
        f"Copies of another image, pixel by pixel: {copies}.",
        f"Images that share their scene with another: {sum(map(len, scenes))}, in {len(scenes)} scenes. Split by the "
        "group table.",
        *([f"Scenes with images of several classes: {crossing}. One of the labels is wrong."] if crossing else []),
        *([f"Scenes torn between parts: {torn}. The test part holds what was trained on."] if torn else []),
        "No probe was run: each class needs images of two scenes."
        if not audit.probes
        else "The label is given away by: " + "; ".join(probe.name for probe in telling) + "."
        if telling
        else "No probe tells the label.",
    ]


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder} can't be written ({error.strerror}); give --output a folder of yours") from None


def _summary(audit: Audit) -> Section:
    return Section(f"In short: {', '.join(audit.folders)}", advice=tuple(verdicts(audit)))


def _files(audit: Audit) -> Section:
    rows = tuple(
        (file.original_class, file.name, file.facts.error or "; ".join(file.facts.oddities)) for file in audit.flawed
    )
    return Section(
        "Broken and odd files",
        text=("None.",) if not rows else _left_out(len(rows), MOST_ROWS, "Files"),
        table=Table(_columns("class", "file", "what"), rows[:MOST_ROWS]) if rows else None,
    )


def _duplicates(audited: Audited) -> Section:
    files, found = audited.audit.files, audited.audit.duplicates
    shown = sorted(found, key=lambda each: not each.across_classes)[:MOST_PICTURES]
    pictures = [
        Picture(
            tuple(_picture(audited, index) for index in each.files[:2]),
            ("DIFFERENT CLASSES. " if each.across_classes else "")
            + f"{'The same file' if each.equal_bytes else 'Other bytes, the same pixels'}: "
            + ", ".join(_name(files[index]) for index in each.files),
        )
        for each in shown
    ]
    return Section(
        "Exact duplicates",
        text=_left_out(len(found), MOST_PICTURES, "Sets of equal images") if found else ("None.",),
        pictures=tuple(pictures),
    )


def _scenes(audited: Audited) -> Section:
    audit = audited.audit
    sizes = Counter(file.group for file in audit.files)
    rows = []
    for name in dict.fromkeys(file.original_class for file in audit.files):
        own = [file for file in audit.files if file.original_class == name]
        shared = [file for file in own if sizes[file.group] > 1]
        groups = {file.group for file in shared}
        largest = max(sizes[file.group] for file in own)
        rows.append(
            (name, str(len(own)), str(len(shared)), f"{len(shared) / len(own):.0%}", str(len(groups)), str(largest))
        )
    columns = _columns("class", "images", "share a scene", "of all", "scenes of several", "largest")
    shown = sorted(audit.overlaps, key=lambda each: (not each.across_classes, each.inliers))[:MOST_PICTURES]
    return Section(
        "Overlapping scenes",
        text=(
            "Pairs of images in which SIFT features and the pixels around them agree under one shift, turn and scale. "
            "The outline is where one image lies in the other. Pairs of different classes come first, then those with "
            "the fewest features in common.",
            *_left_out(len(audit.overlaps), MOST_PICTURES, "Pairs"),
        ),
        table=Table(columns, tuple(rows)),
        pictures=tuple(_pair(audited, each) for each in shown),
    )


def _pair(audited: Audited, overlap: OverlapFound) -> Picture:
    """Return both images of a pair, each with the other's outline in it."""
    files = audited.audit.files
    first, second = (working_image(read_image(audited.paths[index])) for index in (overlap.first, overlap.second))
    forward = np.array(overlap.transform, np.float64)
    outlined = (
        _outlined(first, second.shape, np.asarray(cv2.invertAffineTransform(forward), np.float64)),
        _outlined(second, first.shape, forward),
    )
    return Picture(
        outlined,
        ("DIFFERENT CLASSES. " if overlap.across_classes else "")
        + f"{_name(files[overlap.first])} and {_name(files[overlap.second])}: {overlap.inliers} features, "
        f"{overlap.share:.0%} of the second, correlation {overlap.correlation:.2f}",
    )


def _outlined(
    image: Image, other: Sequence[int], transform: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
) -> Image:
    height, width = other[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    points = np.rint(corners @ transform[:, :2].T + transform[:, 2]).astype(np.int32)
    drawn = cv2.polylines(image.copy(), [points], True, OUTLINE, max(2, round(max(image.shape) / 112)), cv2.LINE_AA)
    return _shrunk(np.asarray(drawn, np.uint8))


def _picture(audited: Audited, index: int) -> Image:
    return _shrunk(read_image(audited.paths[index]))


def _shrunk(image: Image) -> Image:
    scale = min(1.0, PICTURE_PX / max(image.shape[:2]))
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _balance(audit: Audit) -> Section:
    counts = Counter((file.source, file.original_class, file.label) for file in audit.files)
    labels = Counter(file.label for file in audit.files)
    rows = [(*key, str(count), f"{count / len(audit.files):.1%}") for key, count in sorted(counts.items())]
    rows += [("all", "", label, str(count), f"{count / len(audit.files):.1%}") for label, count in labels.items()]
    most, least = max(labels.values()), min(labels.values())
    return Section(
        "Class balance",
        text=(f"The largest class has {most / least:.1f} times the images of the smallest.",),
        table=Table(_columns("source", "class", "label", "images", "share"), tuple(rows)),
    )


def _sizes(audit: Audit) -> Section:
    classes = list(dict.fromkeys(file.original_class for file in audit.files))
    sound = [file for file in audit.files if file.facts.error is None]
    sizes = Counter((file.facts.width, file.facts.height) for file in sound)
    cells = Counter((file.facts.width, file.facts.height, file.original_class) for file in sound)
    rows = tuple(
        (f"{width}×{height}", *(str(cells[width, height, name] or "") for name in classes))
        for (width, height), _ in sizes.most_common(MOST_ROWS)
    )
    return Section(
        "Sizes of the images",
        text=("A size that one class alone has is a shortcut.", *_left_out(len(sizes), MOST_ROWS, "Sizes")),
        table=Table((Column("pixels", False), *(Column(name) for name in classes)), rows),
    )


def _probes(audit: Audit) -> Section:
    if not audit.probes:
        return Section("Shortcut probes", text=("None was run: each class needs images of two scenes.",))
    rows = tuple(
        (
            probe.name,
            f"{probe.balanced_at_random:.1%}",
            f"{probe.balanced_by_scene:.1%}",
            f"{probe.chance:.1%}",
            f"{probe.accuracy_at_random:.1%}",
            f"{probe.accuracy_by_scene:.1%}",
            f"{probe.largest_class:.1%}",
            "yes" if probe.gives_away else "no",
        )
        for probe in audit.probes
    )
    columns = (
        Column("seen", False),
        Column("balanced accuracy, split at random"),
        Column("split by scene"),
        Column("chance"),
        Column("accuracy, split at random"),
        Column("split by scene"),
        Column("largest class alone"),
        Column("gives the label away", False),
    )
    return Section(
        "Shortcut probes",
        text=(
            "How well the label is told from something that no diagnosis may rest on, by a forest of random trees in "
            f"{audit.probes[0].folds}-fold cross-validation. Balanced accuracy is the mean of the classes' recalls. A "
            "network can learn the same shortcut, and its test figures will not show it.",
        ),
        table=Table(columns, rows),
    )


def _left_out(count: int, most: int, what: str) -> tuple[str, ...]:
    shown = f", of which {most} are shown; --json has all" if count > most else ""
    return (f"{what}: {count}{shown}.",)


def _name(file: AuditedFile) -> str:
    return f"{file.original_class}/{file.name}"


def _columns(*titles: str) -> tuple[Column, ...]:
    return tuple(Column(title, title in NUMERIC) for title in titles)


NUMERIC = {"images", "share", "share a scene", "of all", "scenes of several", "largest"}
