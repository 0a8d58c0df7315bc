"""Measures bundles on images of known class, by the code that judges them on a device."""

import importlib.util
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.dataset import read_prepared
from benchmarks.environment import bundle_facts, read_environment
from benchmarks.labelled import Labelled, LabelledImage, PartOrAll, find_labelled
from benchmarks.metrics import Labels, Probabilities, confusion, figures, predict, share
from benchmarks.perturbations import STRENGTHS, perturb
from benchmarks.results import (
    AccuracyResults,
    AccuracyRun,
    Agreement,
    BundleFacts,
    Executed,
    Mistake,
    Perturbation,
    PerturbationKind,
)
from edge_app.bundle import open_bundle
from edge_app.cameras import Frame
from edge_app.classifier import Classifier
from edge_app.errors import InputError, RuntimeMissingError
from edge_app.images import read_image
from edge_app.judging import Judgement, judge
from edge_app.manifest import Figure

FEWEST_IMAGES = 100  # below it, an interval is wider than what bundles differ by


@dataclass(frozen=True)
class _Judged:
    """What one bundle said of all images, perturbed or not."""

    facts: BundleFacts
    classifier: Classifier
    perturbation: Perturbation | None
    judgements: list[Judgement]

    @property
    def probabilities(self) -> Probabilities:
        """Float64 [N, K], in the order of the bundle's classes."""
        return np.array([[each.probabilities[name] for name in self.facts.classes] for each in self.judgements])


def measure_accuracy(
    bundles: Sequence[Path],
    folder: Path,
    *,
    part: PartOrAll = "test",
    originals: Path | None = None,
    kinds: Sequence[PerturbationKind] = (),
    threads: int = 0,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
) -> AccuracyResults:
    """Return the figures of every bundle on the images of a folder, as they are and made worse in each of some kinds.

    folder, part, originals: see `benchmarks.labelled.find_labelled`. on_progress: called with the images judged, their
    number over all bundles, and what is being judged. A KeyboardInterrupt ends it: what was judged of all images by
    then is returned, and it is raised again when that is nothing.

    Raises InputError, DatasetError, BundleError, RuntimeMissingError and InferenceError.
    """
    if importlib.util.find_spec("scipy") is None:
        raise RuntimeMissingError("intervals need scipy, which is not installed; pip install 'leukoscope[bench]'")
    opened = [open_bundle(path) for path in bundles]
    first = opened[0].manifest
    for bundle in opened:
        if bundle.manifest.classes != first.classes:
            raise InputError(
                f"{bundle.manifest.name} has other classes than {first.name}; compare bundles of one task at a time"
            )
    labelled = find_labelled(folder, first.task, first.classes, part, originals)
    if kinds and labelled.data.judged_from != "image files":
        raise InputError(
            "images are made worse before they are prepared, and this data set has prepared ones; name the folder that "
            "it was built from with --images"
        )
    for bundle in opened:
        if labelled.preprocessing not in (None, bundle.manifest.preprocessing):
            raise InputError(
                f"{folder} was prepared otherwise than {bundle.manifest.name} is fed; name the folder that it was "
                "built from with --images"
            )
    perturbations = [None, *(Perturbation(kind=kind, strength=level) for kind in kinds for level in STRENGTHS)]
    started_at, total = datetime.now(UTC), len(opened) * len(perturbations) * len(labelled.images)
    judged: list[_Judged] = []
    done = 0
    try:
        for bundle in opened:
            classifier = Classifier(bundle, threads=threads)
            for perturbation in perturbations:
                judgements = []
                for image in labelled.images:
                    judgements.append(_judge(classifier, labelled.folder, image, perturbation))
                    done += 1
                    on_progress(done, total, bundle.manifest.name)
                judged.append(_Judged(bundle_facts(bundle), classifier, perturbation, judgements))
    except KeyboardInterrupt:
        if not judged:
            raise
    return AccuracyResults(
        environment=read_environment(),
        started_at=started_at,
        finished_at=datetime.now(UTC),
        data=labelled.data,
        runs=tuple(_run(each, judged, labelled) for each in judged),
    )


def _judge(classifier: Classifier, folder: Path, image: LabelledImage, perturbation: Perturbation | None) -> Judgement:
    manifest = classifier.manifest
    if image.prepared:
        logits = classifier.runtime.infer(read_prepared(folder, image.prepared))[0]
        return judge(logits, image.prepared.quality, manifest.classes, manifest.decision, manifest.limits)
    frame = read_image(image.path)
    if perturbation:
        frame = perturb(frame, perturbation, seed=zlib.crc32(image.name.encode()))
    return classifier.judge(Frame(frame, 0, 0, datetime.now(UTC), image.name, 0.0, {})).judgement


def _run(judged: _Judged, everything: list[_Judged], labelled: Labelled) -> AccuracyRun:
    """Return the record of what one bundle said; everything: for the agreement with the others."""
    facts, decision, classes = judged.facts, judged.classifier.manifest.decision, judged.facts.classes
    images = labelled.images
    probabilities = judged.probabilities
    truths: Labels = np.array([classes.index(image.label) for image in images])
    groups = [image.group for image in images]
    leant = predict(probabilities, classes, decision)
    answered = np.array([each.label is not None for each in judged.judgements])
    right = answered & (leant == truths)
    held_out = _held_out(labelled, facts)
    return AccuracyRun(
        bundle=facts,
        executed=Executed(**vars(judged.classifier.runtime.describe())),
        perturbation=judged.perturbation,
        images=len(images),
        figures=figures(probabilities, truths, groups, classes, decision),
        confusion=tuple(tuple(row) for row in confusion(truths, leant, len(classes)).tolist()),
        coverage=share(int(answered.sum()), len(images)),
        abstained=dict(Counter(each.indeterminate for each in judged.judgements if each.indeterminate)),
        abstained_by_class=_by_class(~answered, truths, classes),
        answered=figures(
            probabilities[answered],
            truths[answered],
            [group for group, has in zip(groups, answered, strict=True) if has],
            classes,
            decision,
        )
        if answered.any()
        else None,
        strict={"accuracy": share(int(right.sum()), len(images))}
        | {f"recall {name}": figure for name, figure in _by_class(right, truths, classes).items()},
        agreement=tuple(
            _agreement(judged, other)
            for other in everything
            if other is not judged and other.perturbation == judged.perturbation
        ),
        mistakes=tuple(
            Mistake(
                image=image.name,
                truth=image.label,
                named=classes[named],
                probability=each.probabilities[classes[named]],
                label=each.label,
                indeterminate=each.indeterminate,
            )
            for image, each, named in zip(images, judged.judgements, leant.tolist(), strict=True)
            if classes[named] != image.label
        ),
        held_out=held_out,
        invalid=tuple(_faults(labelled, held_out)),
    )


def _by_class(
    chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]", truths: Labels, classes: Sequence[str]
) -> dict[str, Figure]:
    """Return the share of each class's images that are chosen; classes without images are left out."""
    counts = {name: int((truths == index).sum()) for index, name in enumerate(classes)}
    return {
        name: share(int((chosen & (truths == index)).sum()), counts[name])
        for index, name in enumerate(classes)
        if counts[name]
    }


def _agreement(judged: _Judged, other: _Judged) -> Agreement:
    classes, ours, theirs = judged.facts.classes, judged.probabilities, other.probabilities
    same = predict(ours, classes, judged.classifier.manifest.decision) == predict(
        theirs, classes, other.classifier.manifest.decision
    )
    return Agreement(
        name=other.facts.name,
        sha256=other.facts.sha256,
        same_label=share(int(same.sum()), len(same)),
        largest_probability_difference=float(np.abs(ours - theirs).max()),
    )


def _held_out(labelled: Labelled, facts: BundleFacts) -> bool | None:
    """Return whether the images are a test part that the bundle's training did not see; None where nobody knows."""
    if labelled.dataset_sha256 != facts.dataset_sha256:
        return None
    return labelled.data.part == "test"


def _faults(labelled: Labelled, held_out: bool | None) -> list[str]:
    faults = []
    if len(labelled.images) < FEWEST_IMAGES:
        faults.append(f"only {len(labelled.images)} images; {FEWEST_IMAGES} are the least to compare bundles by")
    if missing := [name for name, count in labelled.data.images.items() if count == 0]:
        faults.append(f"no image of {', '.join(missing)}")
    if held_out is False:
        faults.append(f"the bundle was trained with the {labelled.data.part} part of this data set; take its test part")
    return faults
