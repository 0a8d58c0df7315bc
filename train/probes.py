"""Shortcut probes: how much of the label can be told from what no diagnosis may rest on.

Each probe sees a few numbers of an image and nothing else. A forest of random trees learns the label from them on some
of the images and names it for the others, by cross-validation: divided at random, and so that no scene is on both
sides. What scores well above chance gives the label away, and a network may have learned that in place of the cells.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.cores import CORES
from edge_app.frozen import Frozen
from edge_app.preprocessing import Image

FOLDS = 5
TREES = 30
CORNER = 1 / 6  # of the shorter side; scale bars of the ALL image dataset are within it
CORNER_PX = 16  # a corner's crop is shrunk to as many pixels a side
GIVES_AWAY = 0.1  # above chance, of the balanced accuracy with whole scenes: more than a few hundred images' noise

Floats = npt.NDArray[np.float32]


class Probe(Frozen):
    """What one probe scored, on images of other folds.

    Balanced accuracy is the mean of the classes' recalls, `chance` what guessing gives; `largest_class` is the accuracy
    of naming the largest class always. at_random: images divided at random; by_scene: scenes kept whole.
    """

    name: str
    images: int
    folds: int
    accuracy_at_random: float
    accuracy_by_scene: float
    largest_class: float
    balanced_at_random: float
    balanced_by_scene: float
    chance: float

    @property
    def gives_away(self) -> bool:
        """Whether the label can be told from it, even of scenes that were not learned from."""
        return self.balanced_by_scene > self.chance + GIVES_AWAY


def probe_features(frame: Image) -> dict[str, Floats]:
    """Return what each probe sees of a frame (uint8 [h, w, 3], BGR): float32 [n]."""
    pixels = frame.reshape(-1, 3)
    mean, spread = cv2.meanStdDev(pixels.reshape(-1, 1, 3))
    side = max(1, round(CORNER * min(frame.shape[:2])))
    corners = {
        "bottom right corner": frame[-side:, -side:],
        "bottom left corner": frame[-side:, :side],
        "top right corner": frame[:side, -side:],
        "top left corner": frame[:side, :side],
    }
    return {
        "size of the image": np.array(frame.shape[1::-1], np.float32),
        "mean colour": mean.ravel().astype(np.float32),
        "mean and spread of colour": np.concatenate([mean, spread]).ravel().astype(np.float32),
    } | {f"{name}, without its colour": _pattern(crop) for name, crop in corners.items()}


def run_probes(
    features: Sequence[Mapping[str, Floats]],
    labels: Sequence[str],
    groups: Sequence[int],
    on_progress: Callable[[str, int, int], None],
    *,
    seed: int = 0,
) -> list[Probe]:
    """Return what each probe scores; none where a class has images of one scene only, as nothing can be held back.

    features: of each image, from `probe_features`; groups: the number of each image's scene.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

    counts = Counter(labels)
    scenes = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    folds = min(FOLDS, *scenes.values())
    if len(scenes) < 2 or folds < 2:
        return []
    truths = np.array(labels)
    divided = (
        (StratifiedKFold(folds, shuffle=True, random_state=seed), None),
        (StratifiedGroupKFold(folds, shuffle=True, random_state=seed), groups),
    )
    probes: list[Probe] = []
    for name in features[0]:
        seen = np.stack([each[name] for each in features])
        scores = []
        for divider, kept_whole in divided:
            on_progress("probing", len(probes), len(features[0]))
            forest = ExtraTreesClassifier(TREES, class_weight="balanced", random_state=seed, n_jobs=CORES)
            named = cross_val_predict(forest, seen, truths, groups=kept_whole, cv=divider)
            scores.append((accuracy_score(truths, named), balanced_accuracy_score(truths, named)))
        probes.append(
            Probe(
                name=name,
                images=len(labels),
                folds=folds,
                accuracy_at_random=scores[0][0],
                accuracy_by_scene=scores[1][0],
                largest_class=max(counts.values()) / len(labels),
                balanced_at_random=scores[0][1],
                balanced_by_scene=scores[1][1],
                chance=1 / len(scenes),
            )
        )
    on_progress("probing", len(probes), len(probes))
    return probes


def _pattern(crop: Image) -> Floats:
    """Return a crop's grey values about their median: what is drawn there, not how bright or in which colour."""
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (CORNER_PX, CORNER_PX), interpolation=cv2.INTER_AREA)
    values = grey.astype(np.float32).ravel()
    return values - np.median(values)
