"""Reads a settings file: YAML of two levels, each value as text with its line, so that an error can name the line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.errors import SettingsError

if TYPE_CHECKING:
    import yaml

LARGEST_FILE = 1_000_000  # bytes


@dataclass(frozen=True)
class Entry:
    """One `key: value` of the file; key: one name, or a section's and one in it; text: None without a value."""

    key: tuple[str, ...]
    text: str | None
    line: int


def read_settings_file(path: Path) -> list[Entry]:
    """Return the entries of a file in their order.

    All values are text, whatever YAML would make of them: `0123`, `no` and `2024-01-01` stay what was written.
    Raises SettingsError when the file can't be read, is no YAML, names a key twice, or has lists or deeper levels.
    """
    import yaml

    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise SettingsError(f"{path} has more than {LARGEST_FILE} bytes: it is no settings file; name another")
        root = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
    except OSError as error:
        raise SettingsError(f"{path} can't be read ({error.strerror}); name another settings file") from error
    except yaml.MarkedYAMLError as error:
        # the reason alone: PyYAML's full text quotes the line, and with it maybe a password
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(
            f"line {line} of {path} is no YAML: {error.problem}; "
            "write `key: value` lines, with quotes around a value that ends in a colon"
        ) from None
    except (ValueError, RecursionError, yaml.YAMLError):
        raise SettingsError(f"{path} is no YAML in UTF-8; write `key: value` lines") from None
    entries: dict[tuple[str, ...], Entry] = {}
    for entry in _entries(root, path):
        if entry.key in entries:
            name, first = ".".join(entry.key), entries[entry.key].line
            raise SettingsError(f"{name} is on line {first} and again on line {entry.line} of {path}; keep one of them")
        entries[entry.key] = entry
    return list(entries.values())


def _entries(root: "yaml.Node | None", path: Path) -> Iterator[Entry]:
    """Yield the entries of the top level and of its sections, and no deeper: so no alias can make it endless."""
    import yaml

    for name, node, line in _pairs(root, path) if root else ():
        if isinstance(node, yaml.MappingNode):
            for inner, leaf, inner_line in _pairs(node, path):
                yield Entry((name, inner), _text(leaf, path), inner_line)
        else:
            yield Entry((name,), _text(node, path), line)


def _pairs(node: "yaml.Node", path: Path) -> "Iterator[tuple[str, yaml.Node, int]]":
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise SettingsError(f"line {node.start_mark.line + 1} of {path} is no section; write `key: value` lines")
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise SettingsError(f"line {line} of {path} has a key that is no name; write `key: value` lines")
        yield key.value, value, line


def _text(node: "yaml.Node", path: Path) -> str | None:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        line = node.start_mark.line + 1
        raise SettingsError(f"line {line} of {path} has a list or a third level; a setting takes one value")
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)
