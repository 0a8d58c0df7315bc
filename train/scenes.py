"""Finds images that show the same scene: overlapping fields of one slide, which a split must not tear apart.

Each image is described by SIFT features (Lowe, IJCV 2004; as RootSIFT, Arandjelović and Zisserman, CVPR 2012). All
pairs would be four million for three thousand images, so approximate nearest neighbours of the strongest features name
the pairs that are worth a look, whatever their class. A pair overlaps when RANSAC finds one similarity that maps enough
of its features onto each other and the aligned pixels correlate. The second test is what keeps burned-in scale bars and
the likeness of all red cells from joining images: features agree there, the fields around them do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.preprocessing import Image
from train.threads import in_threads

WORKING_PX = 512  # longest side at which features are found; smaller images are not enlarged
FEATURES = 300  # of an image
SEARCHED_FEATURES = 150  # of them, the strongest, that look for neighbours
NEIGHBOURS = 8
CHECKS = 48  # leaves that the search looks into: more finds more, slower
MIN_VOTES = 4  # neighbours that two images have in each other, to be worth a look
MATCH_RATIO = 0.8  # of the best match's distance to the second best's (Lowe)
RANSAC_PX = 3.0
# Set on the ALL image dataset: below either, pairs that were looked at had nothing in common; above, all overlapped.
MIN_INLIERS = 8
MIN_CORRELATION = 0.6
SCALES = (0.5, 2.0)  # of one image to the other
MIN_OVERLAP = 0.01  # of an image

Floats = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Features:
    """What is kept of an image. points: float32 [N, 2], x and y, and descriptors: uint8 [N, 128], strongest first.

    small: the grey image at half its working size, uint8 [h, w].
    """

    points: Floats
    descriptors: npt.NDArray[np.uint8]
    small: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Overlap:
    """Two images of one scene, by their index.

    transform: float64 [2, 3], from the first's working pixels to the second's. inliers: features that it maps onto each
    other. share: of the second that the first covers. correlation: Pearson's, of the grey values there.
    """

    first: int
    second: int
    transform: npt.NDArray[np.float64]
    inliers: int
    share: float
    correlation: float


def working_image(frame: Image) -> Image:
    """Return a frame (uint8 [h, w, 3], BGR) at the size at which features are found."""
    scale = min(1.0, WORKING_PX / max(frame.shape[:2]))
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def describe(frame: Image) -> Features:
    """Return the features of a frame, uint8 [h, w, 3], BGR; an even field has none."""
    grey = cv2.cvtColor(working_image(frame), cv2.COLOR_BGR2GRAY)
    keypoints, descriptors = cv2.SIFT_create(FEATURES).detectAndCompute(grey, None)  # type: ignore[attr-defined]
    order = np.argsort([-keypoint.response for keypoint in keypoints], kind="stable").astype(int)[:FEATURES]
    half = max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2)
    return Features(
        points=np.array([keypoints[index].pt for index in order], np.float32).reshape(-1, 2),
        descriptors=np.zeros((0, 128), np.uint8) if descriptors is None else descriptors[order].astype(np.uint8),
        small=np.asarray(cv2.resize(grey, half, interpolation=cv2.INTER_AREA), np.uint8),
    )


def find_overlaps(images: Sequence[Features], on_progress: Progress) -> list[Overlap]:
    """Return the pairs of images that overlap, in the images' order.

    on_progress: is told the step, how much of it is done, and of how much. The same images give the same pairs.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):  # one thread a core is at work already
        pairs = _candidates(images, on_progress)
        found = in_threads(
            lambda pair: _overlap(images, *pair), pairs, lambda done: on_progress("matching", done, len(pairs))
        )
    return [overlap for overlap in found if overlap is not None]


def connected(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return the number of the group of each of `count` images, when paired ones share it; numbers are as they come."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in connected_components(graph, directed=False)[1]]


def _candidates(images: Sequence[Features], on_progress: Progress) -> list[tuple[int, int]]:
    """Return the pairs of images whose features have each other among their nearest neighbours."""
    strongest = [_root(image.descriptors[:SEARCHED_FEATURES]) for image in images]
    descriptors = np.concatenate(strongest or [_root(np.zeros((0, 128), np.uint8))])
    if len(descriptors) <= NEIGHBOURS:
        return []
    owners = np.repeat(np.arange(len(images)), [len(each) for each in strongest])
    cv2.setRNGSeed(0)  # the trees are drawn at random
    index: Any = cv2.flann_Index(descriptors, {"algorithm": 1, "trees": 4})  # type: ignore[attr-defined]
    starts = np.cumsum([0, *(len(each) for each in strongest)])

    def search(number: int) -> npt.NDArray[np.int64]:
        """Return the images that the neighbours of one image's features belong to, one for each neighbour."""
        queries = descriptors[starts[number] : starts[number + 1]]
        if not len(queries):
            return np.zeros(0, np.int64)
        neighbours, _ = index.knnSearch(queries, NEIGHBOURS, params={"checks": CHECKS})
        return np.asarray(owners[neighbours.ravel()], np.int64)

    found = in_threads(search, range(len(images)), lambda done: on_progress("searching", done, len(images)))
    here = np.repeat(np.arange(len(images)), [len(each) for each in found])
    there = np.concatenate(found)
    low, high = np.minimum(here, there), np.maximum(here, there)
    keys, votes = np.unique(low[low < high] * len(images) + high[low < high], return_counts=True)
    return [(key // len(images), key % len(images)) for key in keys[votes >= MIN_VOTES].tolist()]


def _root(descriptors: npt.NDArray[np.uint8]) -> Floats:
    """Return RootSIFT descriptors: float32 [N, 128], of length 1."""
    values = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1)), np.float32)


def _overlap(images: Sequence[Features], first: int, second: int) -> Overlap | None:
    """Return how two images overlap, or None."""
    here, there = images[first], images[second]
    matches = _matches(_root(here.descriptors), _root(there.descriptors))
    if len(matches) < MIN_INLIERS:
        return None
    similarity, inliers = cv2.estimateAffinePartial2D(
        here.points[matches[:, 0]], there.points[matches[:, 1]], ransacReprojThreshold=RANSAC_PX
    )
    transform = np.asarray(similarity, np.float64)
    if transform.shape != (2, 3) or (count := int(inliers.sum())) < MIN_INLIERS:
        return None
    if not SCALES[0] <= np.hypot(transform[0, 0], transform[1, 0]) <= SCALES[1]:
        return None
    share, correlation = _agreement(here.small, there.small, transform)
    if share < MIN_OVERLAP or correlation < MIN_CORRELATION:
        return None
    return Overlap(first, second, transform, count, share, correlation)


def _matches(here: Floats, there: Floats) -> npt.NDArray[np.int64]:
    """Return the features [M, 2] that are each other's nearest, and clearly nearer than the second nearest."""
    if len(here) < 2 or len(there) < 2:
        return np.zeros((0, 2), np.int64)
    likeness = here @ there.T  # of vectors of length 1: their distance² is 2 - 2 × likeness
    two = np.sort(np.partition(likeness, -2, axis=1)[:, -2:], axis=1)
    best = likeness.argmax(axis=1)
    distances = 2 - 2 * np.minimum(two, 1)
    clear = distances[:, 1] < MATCH_RATIO**2 * distances[:, 0]
    mutual = likeness.argmax(axis=0)[best] == np.arange(len(here))
    chosen = np.flatnonzero(clear & mutual)
    return np.stack([chosen, best[chosen]], axis=1)


def _agreement(
    here: npt.NDArray[np.uint8], there: npt.NDArray[np.uint8], transform: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return the share of the second image that the first covers, and how the grey values correlate there."""
    halved = transform.copy()
    # pixel centres: x of the half-size image is (x - 0.5) / 2
    halved[:, 2] = (transform[:, :2] @ (0.5, 0.5) + transform[:, 2] - 0.5) / 2
    size = there.shape[1], there.shape[0]
    covered = cv2.warpAffine(np.full_like(here, 255), halved, size) == 255
    if covered.sum() < 2:
        return 0.0, 0.0
    ours, theirs = (image[covered].astype(np.float64) for image in (cv2.warpAffine(here, halved, size), there))
    ours -= ours.mean()
    theirs -= theirs.mean()
    scale = np.sqrt((ours @ ours) * (theirs @ theirs))
    return float(covered.mean()), float(ours @ theirs / scale) if scale else 0.0
