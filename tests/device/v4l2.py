"""Proves the V4L2 camera on a real or simulated device: python tests/device/v4l2.py DEVICE [OPTIONS].

Checks that the device is listed, gives fresh frames with their settings to a slow consumer, is refused with a reason
when it is used twice or asked for a size it has not; with --shows, that its pictures are those of a folder; with
--unplug, that it comes back by itself. The unplugging is a command that returns once the device is there again, so a
person may use `--unplug "read -p 'pull the plug, put it back, press enter'"`.
"""

import argparse
import itertools
import subprocess
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.cameras import list_cameras, open_camera
from edge_app.errors import CameraError
from edge_app.images import find_images, read_image
from edge_app.preprocessing import Image

MOST_DIFFERENT = 8.0  # mean grey levels between thumbnails of the same picture, after scaling and compression


def main() -> None:
    """Run the checks and print what was seen; an AssertionError says which one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", help="source: /dev/videoN or a v4l2:// URI")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--limit", type=float, default=5, metavar="S", help="time limit of opening and of reading")
    parser.add_argument("--shows", type=Path, metavar="FOLDER", help="images that the device is being shown")
    parser.add_argument(
        "--unplug", metavar="COMMAND", help="shell command that takes the device away and gives it back"
    )
    options = parser.parse_args()

    listed = list_cameras()
    for camera in listed:
        print(camera.uri, camera.name, f"{len(camera.formats)} formats", camera.formats[:2], camera.problem or "")
    assert any(camera.uri.removeprefix("v4l2://") in options.device for camera in listed), "the device is not listed"
    check_frames(options.device, options.frames, options.limit, options.shows)
    check_refusals(options.device, options.limit)
    if options.unplug:
        check_return(options.device, options.limit, options.unplug)
    print("all held")


def check_frames(device: str, count: int, limit_s: float, folder: Path | None) -> None:
    """Take frames at full rate, then slowly."""
    with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s, on_event=print) as camera:
        started = time.monotonic()
        frames = list(itertools.islice(camera, count))
        rate = (frames[-1].sequence - frames[0].sequence) / (time.monotonic() - started)
        time.sleep(limit_s / 2)
        late = next(iter(camera))
        age_ms = (time.monotonic_ns() - late.monotonic_ns) / 1e6
    first = frames[0]
    print(f"{count} frames {first.image.shape}, {rate:.1f} a second, grab {first.grab_ms:.1f} to {late.grab_ms:.1f} ms")
    print(f"after a pause of {limit_s / 2:g} s: frame {late.sequence}, {age_ms:.0f} ms old")
    print("settings", dict(first.settings))
    sequences = [frame.sequence for frame in [*frames, late]]
    assert sequences == sorted(set(sequences)), "frames came twice or out of order"
    assert late.sequence > frames[-1].sequence + 1, "a slow consumer got the frame after its last one"
    assert age_ms < limit_s * 500, "a slow consumer got an old frame"
    assert first.image.shape == (first.settings["height"], first.settings["width"], 3), "settings and picture disagree"
    if folder:
        shown = [thumbnail(read_image(path), first.image) for path in find_images(folder)]
        differences = [
            min(float(np.abs(thumbnail(frame.image, first.image) - each).mean()) for each in shown) for frame in frames
        ]
        print(f"difference to the nearest image of {folder.name}:", *(f"{each:.1f}" for each in differences))
        assert np.median(differences) < MOST_DIFFERENT, "the pictures are not the folder's"


def thumbnail(image: Image, like: Image) -> npt.NDArray[np.int16]:
    """Return the middle of an image, in the proportions of `like`, as int16 [24, 32, 3]."""
    scale = min(image.shape[0] / like.shape[0], image.shape[1] / like.shape[1])
    height, width = int(like.shape[0] * scale), int(like.shape[1] * scale)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    middle = image[top : top + height, left : left + width]
    return np.asarray(cv2.resize(middle, (32, 24), interpolation=cv2.INTER_AREA), np.int16)


def check_refusals(device: str, limit_s: float) -> None:
    """Open the device twice, and with a size that no camera has."""
    with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s):
        try:
            with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s):
                print("used twice: the driver allows it")
        except CameraError as error:
            print("used twice:", error)
    try:
        open_camera(device.partition("?")[0] + "?width=16&height=4444", open_timeout_s=limit_s)
        raise AssertionError("a size that the device has not was accepted")
    except CameraError as error:
        print("wrong size:", error)


def check_return(device: str, limit_s: float, unplug: str) -> None:
    """Take the device away while it is read, and wait until it gives frames again."""
    events: list[str] = []
    started = time.monotonic()

    def on_event(event: str) -> None:
        print(f"{time.monotonic() - started:5.1f} s  {event}")
        events.append(event)

    with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s, on_event=on_event) as camera:
        frames = iter(camera)
        before = next(frames)
        pulling = threading.Thread(target=subprocess.run, args=(["/bin/bash", "-c", unplug],))
        pulling.start()
        while not any("is back" in event for event in events):
            frame = next(frames)
        pulling.join()
        after = list(itertools.islice(frames, 5))
        print(f"frame {before.sequence} before, {frame.sequence} first after, {after[-1].sequence} last")
        assert after[-1].sequence > frame.sequence > before.sequence, "the count did not go on"
        closing = time.monotonic()
    print(f"closed in {time.monotonic() - closing:.2f} s")


if __name__ == "__main__":
    main()
