"""The camera `demo:`: shipped, drawn frames that play in a loop as a microscope's camera would give them."""

from collections.abc import Callable
from pathlib import Path

from edge_app.cameras import Camera, uri_options
from edge_app.cameras.files import ImageFiles
from edge_app.cameras.reading import LiveCamera, OrderedCamera
from edge_app.errors import CameraError
from edge_app.images import find_images

FOLDER = Path(__file__).parent.parent / "data" / "demo"
OPTIONS = {"fps": "frames a second, above 0 and at most 1000", "loops": "rounds until it ends, 1 to 1000000"}


def open_uri(
    uri: str,
    *,
    every_frame: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    on_event: Callable[[str], None],
    folder: Path = FOLDER,
) -> Camera:
    """Open `demo:`, `demo:?fps=10&loops=1`: the images of `folder` at 10 frames a second, again and again.

    With `every_frame`, each comes once a round, as fast as it is taken. Raises CameraError for other options.
    """
    options = uri_options(uri, OPTIONS)
    if uri.partition("?")[0] not in ("demo:", "demo://"):
        raise CameraError(f"{uri!r} is no source; write demo:, or demo:?fps=10&loops=1")
    try:
        fps = float(options.get("fps", "10"))
        rounds = int(options["loops"]) if "loops" in options else None
    except ValueError:
        fps, rounds = 0, None
    if not 0 < fps <= 1000 or (rounds is not None and not 1 <= rounds <= 1_000_000):
        raise CameraError(f"{uri!r} has options out of range: " + ", ".join(f"{n}= ({t})" for n, t in OPTIONS.items()))
    paths = find_images(folder)
    if every_frame:
        return OrderedCamera(ImageFiles(paths, fps=fps, rounds=rounds), on_event)
    return LiveCamera(
        uri,
        lambda: ImageFiles(paths, fps=fps, rounds=rounds),
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )
