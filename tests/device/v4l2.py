"""Proves the V4L2 camera on a real or simulated device: python tests/device/v4l2.py DEVICE [OPTIONS].

Checks that the device is listed, gives fresh frames with their settings to a slow consumer, is refused with a reason
when it is used twice, in use by another program, asked for a size it has not, or opened by a user who may not; that its
controls, if it has any, can be set and show in the frames; with --shows, that its pictures are those of a folder; with
--beside, that another camera can be used at the same time; with --unplug, that it comes back by itself, with its
controls set again. The unplugging is a command that returns once the device is there again, so a person may use
`--unplug "read -p 'pull the plug, put it back, press enter'"`.
"""

import argparse
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.cameras import Camera, Control, Setting, list_cameras, open_camera, v4l2_ioctl
from edge_app.cameras.v4l2_controls import name_of, native_value
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
    parser.add_argument("--beside", metavar="DEVICE", help="a second camera")
    options = parser.parse_args()

    listed = list_cameras()
    for camera in listed:
        print(camera.uri, camera.name, f"{len(camera.formats)} formats", camera.formats[:2], camera.problem or "")
        print("  controls", *(each.name for each in camera.controls))
    assert any(camera.uri.removeprefix("v4l2://") in options.device for camera in listed), "the device is not listed"
    check_frames(options.device, options.frames, options.limit, options.shows)
    check_refusals(options.device, options.limit)
    check_busy(options.device, options.limit)
    check_permission(options.device)
    check_controls(options.device, options.limit)
    if options.beside:
        check_beside(options.device, options.beside, options.limit)
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


def check_busy(device: str, limit_s: float) -> None:
    """Open the device while another program streams from it, and again once that has ended."""
    code = "import sys; from edge_app.cameras import open_camera\n" + (
        "with open_camera(sys.argv[1]) as camera: print(next(iter(camera)).sequence, flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, device], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline(), "the other program got no picture"
        try:
            with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s):
                print("in use by another program: the driver allows it")
        except CameraError as error:
            said = str(error)
            print("in use by another program:", said)
            if "used by another program" not in said:
                raise AssertionError("the reason was not told") from error
        other.communicate()
    with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s) as camera:
        print("free again: frame", next(iter(camera)).sequence)


def check_permission(device: str) -> None:
    """Open the device as the user nobody."""
    if os.getuid():
        print("permission: not checked, as only root can become another user")
        return
    child = multiprocessing.get_context("fork").Process(target=open_as_nobody, args=(device,))
    child.start()
    child.join()
    assert child.exitcode == 0, "the device could be opened without permission, or the reason was not told"


def open_as_nobody(device: str) -> None:
    """Give up all rights, and try."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    try:
        open_camera(device)
    except CameraError as error:
        print("as nobody:", error, flush=True)
        os._exit(0 if "usermod -aG video" in str(error) else 2)
    os._exit(1)


def check_controls(device: str, limit_s: float) -> None:
    """Set each number that can be set, look for it in a frame, and set it back."""
    with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s, on_event=print) as camera:
        frames = iter(camera)
        for control in numbers(camera):
            other = another(control)
            given = camera.set_control(control.name, other).value
            next(frames)  # may have been taken before
            shown = next(frames).settings[control.name]
            print(
                f"{control.name} {control.value} → {other}: {given}, in the frame {shown}; {control.unit or 'no unit'}"
            )
            assert given == other == shown, "the control was not set"
            try:
                camera.set_control(control.name, control.maximum + 1)
                raise AssertionError("a value out of range was accepted")
            except CameraError as error:
                print(" ", error)
            camera.set_control(control.name, control.value)
        for control in camera.controls():
            if control.kind == "bool" and control.name.startswith("auto_"):
                for value in (not control.value, bool(control.value)):
                    camera.set_control(control.name, value)
                    governed = [each.name for each in camera.controls() if each.governed_by == control.name]
                    print(f"{control.name} {value}: governs {governed}")
        try:
            camera.set_control("no such control", 1)
            raise AssertionError("an unknown control was accepted")
        except CameraError as error:
            print(error)


def numbers(camera: Camera) -> list[Control]:
    """Return the whole numbers that can be set now."""
    return [each for each in camera.controls() if each.kind == "int" and not each.governed_by and each.step]


def another(control: Control) -> Setting:
    """Return another value that a control takes."""
    above = float(control.value) + control.step
    return int(above if above <= control.maximum else above - 2 * control.step)


def check_beside(device: str, other: str, limit_s: float) -> None:
    """Read two cameras at once."""
    with (
        open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s, on_event=print) as one,
        open_camera(other, open_timeout_s=limit_s, read_timeout_s=limit_s, on_event=print) as two,
    ):
        pairs = list(itertools.islice(zip(one, two, strict=False), 10))
    print("two at once:", *(f"{frame.source} frame {frame.sequence}" for frame in pairs[-1]))
    assert all(first.source != second.source for first, second in pairs)


def check_return(device: str, limit_s: float, unplug: str) -> None:
    """Take the device away while it is read, and wait until it gives frames again."""
    events: list[str] = []
    started = time.monotonic()

    def on_event(event: str) -> None:
        print(f"{time.monotonic() - started:5.1f} s  {event}")
        events.append(event)
        if control and "lost" in event and "not set" not in event:
            forget(device, control)

    control = None
    with open_camera(device, open_timeout_s=limit_s, read_timeout_s=limit_s, on_event=on_event) as camera:
        frames = iter(camera)
        before = next(frames)
        if settable := numbers(camera):
            control = settable[0]
            camera.set_control(control.name, another(control))
        pulling = threading.Thread(target=subprocess.run, args=(["/bin/bash", "-c", unplug],))
        pulling.start()
        while not any("is back" in event for event in events):
            frame = next(frames)
        pulling.join()
        after = list(itertools.islice(frames, 5))
        print(f"frame {before.sequence} before, {frame.sequence} first after, {after[-1].sequence} last")
        assert after[-1].sequence > frame.sequence > before.sequence, "the count did not go on"
        if control:
            print(f"{control.name} was set to {another(control)}, is {after[-1].settings[control.name]}")
            assert after[-1].settings[control.name] == another(control), "the control was not set again"
        closing = time.monotonic()
    print(f"closed in {time.monotonic() - closing:.2f} s")


def forget(device: str, control: Control) -> None:
    """Set a control as it was, as a camera does that loses its power; the test camera keeps what was set."""
    path = "/" + device.partition("?")[0].partition("://")[2].lstrip("/") if "://" in device else device
    for _ in range(20):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            try:
                (native,) = [each for each in v4l2_ioctl.controls(descriptor) if name_of(each) == control.name]
                v4l2_ioctl.set_control(descriptor, native.id, native_value(native, control.value))
            finally:
                os.close(descriptor)
            print(f"{control.name} forgotten: {control.value}")
            return
        except (OSError, ValueError):
            time.sleep(0.1)


if __name__ == "__main__":
    main()
