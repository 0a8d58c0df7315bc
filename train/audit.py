"""Looks a data set over before anything is learned from it: files, duplicates, scenes, balance and shortcuts."""

import warnings
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import AwareDatetime

from benchmarks.dataset import Part, Task
from edge_app import __version__
from edge_app.frozen import Frozen
from train.audit_files import FileFacts, LabelledFile, find_files, rare_sizes, read_file
from train.probes import Floats, Probe, probe_features, run_probes
from train.scenes import Features, connected, describe, find_overlaps
from train.threads import in_threads


class AuditedFile(Frozen):
    """An image and what was found of it; see `audit_files.LabelledFile`. group: its scene's, in the table."""

    name: str
    source: str
    original_class: str
    label: str
    part: Part | None
    group: str
    facts: FileFacts


class Duplicates(Frozen):
    """Images of equal pixels, as indices of files. equal_bytes: whether the files are equal too."""

    files: tuple[int, ...]
    equal_bytes: bool
    across_classes: bool


class OverlapFound(Frozen):
    """Two images of one scene, as indices of files; see `scenes.Overlap`."""

    first: int
    second: int
    transform: tuple[tuple[float, float, float], tuple[float, float, float]]
    inliers: int
    share: float
    correlation: float
    across_classes: bool


class Audit(Frozen):
    """What was found in a data set. paths are not in it, so that it can be shown to others."""

    folders: tuple[str, ...]
    created_at: AwareDatetime
    leukoscope: str
    files: tuple[AuditedFile, ...]
    duplicates: tuple[Duplicates, ...]
    overlaps: tuple[OverlapFound, ...]
    probes: tuple[Probe, ...]

    @property
    def flawed(self) -> list[AuditedFile]:
        """The files that can't be read, or are odd."""
        return [file for file in self.files if file.facts.error or file.facts.oddities]

    def scenes(self) -> list[tuple[AuditedFile, ...]]:
        """Return the groups of several images, in the order of the files."""
        groups: dict[str, list[AuditedFile]] = {}
        for file in self.files:
            groups.setdefault(file.group, []).append(file)
        return [tuple(members) for members in groups.values() if len(members) > 1]


class Audited(NamedTuple):
    """An audit, and where each of its files lies."""

    audit: Audit
    paths: tuple[Path, ...]


class _Seen(NamedTuple):
    """What is kept of an image once it was read."""

    facts: FileFacts
    scene: Features | None
    probe: dict[str, Floats] | None


def audit(folders: list[Path], task: Task, on_progress: Callable[[str, int, int], None] = lambda *_: None) -> Audited:
    """Look at every image under the folders, each alone and each with the others; the same images give the same.

    task: which label a published data set's images have. on_progress: is told the step (reading, searching, matching,
    probing), how much of it is done, and of how much. Raises DatasetError when there is nothing to look at.
    """
    files = find_files(folders, task)
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of what is reported here
        seen = in_threads(_look, files, lambda done: on_progress("reading", done, len(files)))
    facts = [each.facts for each in seen]
    for index, oddity in rare_sizes(files, facts).items():
        facts[index] = facts[index].replace(oddities=(*facts[index].oddities, oddity))
    duplicates = _duplicates(files, facts)
    overlaps = _overlaps(files, seen, on_progress)
    pairs = [(each.files[0], other) for each in duplicates for other in each.files[1:]]
    pairs += [(each.first, each.second) for each in overlaps]
    scenes = connected(len(files), pairs + _known_pairs(files))
    readable = [index for index, each in enumerate(seen) if each.probe is not None]
    probes = run_probes(
        [probe for each in seen if (probe := each.probe) is not None],
        [files[index].label for index in readable],
        [scenes[index] for index in readable],
        on_progress,
    )
    names = _group_names(files, scenes)
    found = Audit(
        folders=tuple(folder.name or str(folder) for folder in folders),
        created_at=datetime.now(UTC),
        leukoscope=__version__,
        files=tuple(
            AuditedFile(
                name=file.name,
                source=file.source,
                original_class=file.original_class,
                label=file.label,
                part=file.part,
                group=names[scene],
                facts=each,
            )
            for file, scene, each in zip(files, scenes, facts, strict=True)
        ),
        duplicates=tuple(duplicates),
        overlaps=tuple(overlaps),
        probes=tuple(probes),
    )
    return Audited(found, tuple(file.path for file in files))


def _look(file: LabelledFile) -> _Seen:
    facts, frame = read_file(file)
    return _Seen(facts, None, None) if frame is None else _Seen(facts, describe(frame), probe_features(frame))


def _duplicates(files: list[LabelledFile], facts: list[FileFacts]) -> list[Duplicates]:
    alike: dict[str, list[int]] = {}
    for index, each in enumerate(facts):
        if each.error is None:
            alike.setdefault(each.pixels_sha256, []).append(index)
    return [
        Duplicates(
            files=tuple(members),
            equal_bytes=len({facts[index].sha256 for index in members}) == 1,
            across_classes=len({files[index].label for index in members}) > 1,
        )
        for members in alike.values()
        if len(members) > 1
    ]


def _overlaps(
    files: list[LabelledFile], seen: list[_Seen], on_progress: Callable[[str, int, int], None]
) -> list[OverlapFound]:
    """Return the pairs that overlap and are not the same pixels."""
    described = [(index, scene) for index, each in enumerate(seen) if (scene := each.scene) is not None]
    found = []
    for each in find_overlaps([scene for _, scene in described], on_progress):
        first, second = described[each.first][0], described[each.second][0]
        if seen[first].facts.pixels_sha256 == seen[second].facts.pixels_sha256:
            continue
        upper, lower = each.transform.tolist()
        found.append(
            OverlapFound(
                first=first,
                second=second,
                transform=(tuple(upper), tuple(lower)),
                inliers=each.inliers,
                share=each.share,
                correlation=each.correlation,
                across_classes=files[first].label != files[second].label,
            )
        )
    return found


def _known_pairs(files: list[LabelledFile]) -> list[tuple[int, int]]:
    """Return pairs that belong together whatever they look like: fields of one frame, images of one slide."""
    firsts: dict[tuple[str, ...], int] = {}
    pairs = []
    for index, file in enumerate(files):
        pairs.append((firsts.setdefault((file.source, file.original_class, "frame", file.name), index), index))
        if file.slide is not None:
            pairs.append((firsts.setdefault((file.source, "slide", file.slide), index), index))
    return pairs


def _group_names(files: list[LabelledFile], scenes: list[int]) -> dict[int, str]:
    """Return a name for the number of each scene: the class of its first image, and a number within the class."""
    counts: Counter[str] = Counter()
    names: dict[int, str] = {}
    for file, scene in zip(files, scenes, strict=True):
        if scene not in names:
            names[scene] = f"{file.original_class}_{counts[file.original_class]:03}"
            counts[file.original_class] += 1
    return names
