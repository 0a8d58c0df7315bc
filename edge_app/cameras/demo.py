"""The camera `demo:`: shipped, drawn frames that play in a loop as a microscope's camera would give them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_app.cameras import Camera, Control, Setting
from edge_app.cameras.files import ImageFiles
from edge_app.cameras.reading import Device, LiveCamera, OrderedCamera
from edge_app.cameras.uris import option_forms, uri_options
from edge_app.cameras.white_balance import decoded, encoded
from edge_app.errors import CameraError
from edge_app.images import find_images
from edge_app.preprocessing import Image

FOLDER = Path(__file__).parent.parent / "data" / "demo"
OPTIONS = {
    "fps": "frames a second, above 0 and at most 1000",
    "loops": "rounds until it ends, 1 to 1000000",
    "stay": "frames that each field stays, 1 to 1000",
    "field": "cells, or empty to measure the white balance on",
}
CONTROLS = (
    Control("auto_exposure", "bool", 0, 1, 1, default=True, value=True),
    Control("exposure_us", "int", 100, 100_000, 100, 10_000, 10_000, "µs", governed_by="auto_exposure"),
    Control("gain", "float", 1, 16, 0.1, 1.0, 1.0, "×", governed_by="auto_exposure"),
    Control("auto_white_balance", "bool", 0, 1, 1, default=True, value=True),
    Control("red_gain", "float", 0.5, 8, 0.01, 2.0, 2.0, "×", governed_by="auto_white_balance"),
    Control("blue_gain", "float", 0.5, 8, 0.01, 1.6, 1.6, "×", governed_by="auto_white_balance"),
)


def open_uri(
    uri: str,
    *,
    every_frame: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    on_event: Callable[[str], None],
    folder: Path = FOLDER,
) -> Camera:
    """Open `demo:`, `demo:?fps=10&loops=1&stay=30`: the images of `folder` at 10 frames a second, again and again.

    Each stays for 30 frames, as a field does under a microscope. With `every_frame`, each comes once a round, as fast
    as it is taken. Raises CameraError for other options.
    """
    options = uri_options(uri, OPTIONS)
    if uri.partition("?")[0] not in ("demo:", "demo://"):
        raise CameraError(f"{uri!r} is no source; write demo:, or demo:?fps=10&loops=1")
    try:
        fps = float(options.get("fps", "10"))
        rounds = int(options["loops"]) if "loops" in options else None
        stay = int(options.get("stay", "1" if every_frame else "30"))
    except ValueError:
        fps, rounds, stay = 0, None, 0
    field = options.get("field", "cells")
    in_range = 0 < fps <= 1000 and (rounds is None or 1 <= rounds <= 1_000_000) and 1 <= stay <= 1000
    if not in_range or field not in ("cells", "empty"):
        raise CameraError(f"{uri!r} has options out of range: {option_forms(OPTIONS)}")
    scene: Callable[[], Device] = (
        partial(EmptyField, [Path("an empty field")], fps=fps, rounds=rounds)
        if field == "empty"
        else partial(DrawnScene, [path for path in find_images(folder) for _ in range(stay)], fps=fps, rounds=rounds)
    )
    if every_frame:
        return OrderedCamera(scene(), on_event)
    return LiveCamera(
        uri,
        scene,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )


class DrawnScene(ImageFiles):
    """The images, seen by a simulated sensor with exposure and white balance.

    Its automatics, on at first, find the values at which a picture is as it was drawn, those of `CONTROLS`. Without
    them the light is the drawn one × exposure_us × gain over the right ones, and so for red_gain and blue_gain.
    """

    def __init__(self, paths: list[Path], *, fps: float, rounds: int | None) -> None:
        """Give `paths` so many times, or without end where `rounds` is None."""
        super().__init__(paths, fps=fps, rounds=rounds)
        self._values: dict[str, Any] = {control.name: control.default for control in CONTROLS}
        self.settings: Mapping[str, Setting] = {"fps": fps} | self._values

    def retrieve(self) -> Image:
        """Return what is drawn, as the sensor sees it."""
        image = self._drawn()
        share = {each.name: self._values[each.name] / each.default for each in CONTROLS if each.kind != "bool"}
        light = share["exposure_us"] * share["gain"]
        by_channel = np.array([light * share["blue_gain"], light, light * share["red_gain"]])
        if (by_channel == 1).all():
            return image
        levels = encoded(decoded(np.arange(256)).reshape(256, 1) * by_channel)
        return np.asarray(cv2.LUT(image, levels[np.newaxis]), np.uint8)

    def controls(self) -> tuple[Control, ...]:
        """Return the simulated sensor's controls."""
        return tuple(
            replace(
                each,
                value=self._values[each.name],
                governed_by=each.governed_by if self._values.get(each.governed_by or "") else None,
            )
            for each in CONTROLS
        )

    def set_control(self, control: Control, value: Setting) -> None:
        """Set it for the next picture; an automatic that is switched on finds the right values at once."""
        found = {each.name: each.default for each in CONTROLS if each.governed_by == control.name and value}
        self._values = self._values | found | {control.name: value}
        self.settings = {**self.settings, **self._values}

    def _drawn(self) -> Image:
        return super().retrieve()


class EmptyField(DrawnScene):
    """A field of grey glass in place of the images."""

    def _drawn(self) -> Image:
        return np.full((960, 1280, 3), 225, np.uint8)
