"""How a camera is named: a URI whose scheme says which module opens it, a path, or a number."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from edge_app.errors import CameraError

# scheme → the module whose `open_uri` opens it; imported when it is used
SCHEMES = {
    "csi": "edge_app.cameras.gstreamer",
    "demo": "edge_app.cameras.demo",
    "file": "edge_app.cameras.files",
    "gst": "edge_app.cameras.gstreamer",
    "picamera2": "edge_app.cameras.picamera2",
    "rtsp": "edge_app.cameras.rtsp",
    "v4l2": "edge_app.cameras.v4l2",
}


def source_uri(source: str) -> str:
    """Return the URI of a source, whose scheme is one of `SCHEMES`; raises CameraError for a source of another form."""
    try:
        os.fsencode(source)
    except UnicodeEncodeError:
        source = ""
    if not source.strip() or "\0" in source:
        raise CameraError(f"{source!r} names no camera; name {_known()}")
    if source.isascii() and source.isdigit():
        return f"v4l2:///dev/video{source}"
    if match := re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", source):
        scheme = match[1].lower()
        if scheme not in SCHEMES:
            raise CameraError(f"{source!r} has the unknown scheme {scheme!r}; name {_known()}")
        return scheme + source[match.end(1) :]
    path = str(Path(source).absolute())
    if path.startswith(("/dev/v4l/", "/dev/video")):
        return f"v4l2://{path}"  # options may follow
    return f"file://{quote(path, errors='surrogateescape')}"


def uri_path(uri: str) -> Path:
    """Return the absolute path in a URI of the form `scheme:///PATH?options`; raises CameraError without one."""
    scheme, _, rest = uri.partition(":")
    path = unquote(rest.partition("?")[0], errors="surrogateescape")
    if not path.startswith("///") or "\0" in path:
        raise CameraError(f"{uri!r} names no path; write {scheme}:///PATH, with three slashes")
    return Path(path[2:])


def uri_options(uri: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return the options after a URI's `?`; raises CameraError for one that is twice there, has no value or is unknown.

    known: name → what it means, for the message.
    """
    query = uri.partition("?")[2]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        pairs = [(query, "")]
    options = dict(pairs)
    if len(options) < len(pairs) or any(not value or name not in known for name, value in pairs):
        forms = option_forms(known) or "none"
        raise CameraError(f"{uri!r} has options that can't be used; each may be there once, and they are: {forms}")
    return options


def option_forms(known: Mapping[str, str]) -> str:
    """Return options and what they mean as a message lists them; known: as in `uri_options`."""
    return ", ".join(f"{name}= ({text})" for name, text in known.items())


def without_secrets(text: str) -> str:
    """Return a URI, pipeline or message without the passwords in it, to be shown, logged or kept in records."""
    # up to the last @: a password may have any character, though it should not
    text = re.sub(r"(?<=://)[^\s\"']*@", "…@", text)
    return re.sub(r"(?i)\b((?:user-)?(?:pw|password|passwd|pwd|token)=)(\"[^\"]*\"|'[^']*'|[^\s&;,]+)", r"\1…", text)


def _known() -> str:
    schemes = ", ".join(f"{scheme}:" for scheme in sorted(SCHEMES))
    return f"a URI ({schemes}), a path (./NAME where it has a colon) or a device number"
