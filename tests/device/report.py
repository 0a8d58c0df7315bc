"""Writes what was checked on devices: python -m tests.device.report > docs/device-checks.md.

The page is made of the results in tests/device/results/, which the checks write themselves: tests/device/pi.py,
tests/device/transcript.py for v4l2.py and app.py, and tests/extras.py.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

HEAD = """\
# What was checked on devices

Made by `python -m tests.device.report > docs/device-checks.md` from what the checks wrote; none of it was typed. No
real Raspberry Pi, Jetson or USB camera is among them.
"""


def main() -> None:
    """Print the page."""
    print("\n".join([HEAD, *(section for name, write in SECTIONS.items() for section in _section(name, write))]))


def pi(found: dict[str, Any]) -> Iterator[str]:
    """Yield the section of a device's userland."""
    yield f"{found['system']}, {found['machine']}, Python {found['version']}; checked as {found['target']}.\n"
    if "tests" not in found:
        yield "The check was cut off: what is missing below was **not run**.\n"
    installed = (
        (each["what"], each["packages"], f"{each['bytes'] / 1e6:.0f}", _well(each)) for each in found["installs"]
    )
    yield _table(("installed", "packages", "MB on disk", "went well"), installed)
    if "doctor" in found:
        yield "`leukoscope doctor` found:\n"
        yield _table(("", "", ""), ((each["state"], each["name"], each["text"]) for each in found["doctor"]["checks"]))
    if bundles := [each for name, each in found.items() if name.startswith("bundle ")]:
        yield from _bundles(bundles)
    for what in ("page", "bench", "tests"):
        if what in found:
            yield f"{what.capitalize()}: {'went well' if _well(found[what]) == 'yes' else '**failed**'}.\n"
            yield "```text\n" + "\n".join(found[what]["said"]) + "\n```\n"


def v4l2(found: dict[str, Any]) -> Iterator[str]:
    """Yield the section of a camera: what its check printed."""
    yield f"{found['title']}: {'all held' if found['exit_code'] == 0 else '**failed**'}.\n"
    yield "```text\n" + "\n".join(found["said"]) + "\n```\n"


def extras(found: dict[str, Any]) -> Iterator[str]:
    """Yield the section of the extras."""
    rows = found["rows"]
    kinds = list(dict.fromkeys((row["python"], row["processor"]) for row in rows))
    said = {(row["extra"], row["python"], row["processor"]): row["packages"] or "**none**" for row in rows}
    yield "How many wheels each extra takes; nothing has to be compiled.\n"
    yield _table(
        ("extra", *(f"{python} {processor}" for python, processor in kinds)),
        (
            (name or "(bare)", *(said[name, *kind] for kind in kinds))
            for name in dict.fromkeys(r["extra"] for r in rows)
        ),
    )


SECTIONS: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {"pi": pi, "v4l2": v4l2, "extras": extras}
TITLES = {
    "pi": ("64-bit Arm userland", "python -m tests.device.pi --images FOLDER --bundles BUNDLE … -- RUNNER"),
    "v4l2": (
        "V4L2 cameras",
        "python -m tests.device.transcript FILE --title TEXT -- python tests/device/v4l2.py DEVICE",
    ),
    "extras": ("Wheels", "python -m tests.extras --json tests/device/results/extras.json"),
}


def _section(name: str, write: Callable[[dict[str, Any]], Iterator[str]]) -> Iterator[str]:
    title, command = TITLES[name]
    yield f"## {title}\n`{command}`\n"
    files = sorted(RESULTS.glob(f"{name}*.json"))
    if not files:
        yield "Not run on this version.\n"
    for path in files:
        yield from write(json.loads(path.read_text("utf-8")))


def _bundles(found: list[dict[str, Any]]) -> Iterator[str]:
    yield "The same images, judged there and on the machine that ran the check:\n"
    head = ("bundle", "golden outputs", "images", "same label", "same reason", "largest probability difference")
    rows = (
        (
            f"{each['name']} ({each['format']} {each['precision']})",
            "verified" if each["verified"] else "**failed**",
            each["images"],
            each["same_label"],
            each["same_reason"],
            "–" if each["largest_difference"] is None else f"{each['largest_difference']:.2g}",
            _executed(each["executed"]),
            _executed(each["executed_here"]),
        )
        for each in found
    )
    yield _table((*head, "executed there", "executed here"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def _well(step: dict[str, Any]) -> str:
    return "yes" if step["exit_code"] == 0 else "**no**"


def _executed(said: Any) -> str:
    if not isinstance(said, dict):
        return str(said or "–")
    return f"{said['library']} {said['version']}, {said['precision']}"


if __name__ == "__main__":
    main()
