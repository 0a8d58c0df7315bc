"""The files of `leukoscope bench`: one JSON file a run of the command, their schema in `benchmarks/data`.

`python -m benchmarks.result_files` writes the published schema anew when the records changed.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from benchmarks.peers_results import PeersResults
from benchmarks.results import FORMAT_VERSION, AccuracyResults, LatencyResults
from edge_app.disk import replace_file
from edge_app.errors import InputError
from edge_app.schema import published

SCHEMA_FILE = Path(__file__).with_name("data") / "results.schema.json"
MAX_BYTES = 2**28

Results = LatencyResults | AccuracyResults | PeersResults
_ADAPTER: TypeAdapter[Results] = TypeAdapter(
    Annotated[LatencyResults | AccuracyResults | PeersResults, Field(discriminator="kind")]
)


def read_results(path: Path) -> Results:
    """Return what a file of `leukoscope bench` holds; raises InputError when it is no such file, or a newer one."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be read ({reason}); name a file that leukoscope bench wrote") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; name a file that leukoscope bench wrote")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not JSON; name a file that leukoscope bench wrote") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise InputError(
            f"{path} was written by a newer Leukoscope; read it with that: pip install --upgrade leukoscope"
        )
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(
            f"{path} is no result of leukoscope bench (wrong at {where[:200]}: {first['msg'][:200]}); "
            "name one, or measure again"
        ) from None


def check_output(path: Path) -> None:
    """Raise InputError when a result file could not be written there: to be called before hours of measuring."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give --output the name of a file in it")
    partial = path.with_name(f"{path.name}.partial")
    with _in_words(path):
        partial.touch()
        partial.unlink()


def write_results(path: Path, results: Results) -> None:
    """Write a result file, whole or not at all; raises InputError when the folder can't be written to."""
    with _in_words(path):
        replace_file(path, results.model_dump_json(indent=1).encode() + b"\n")


def results_schema() -> str:
    """Return the JSON schema of result files as text; it is made from the records, so it says what is checked."""
    return published(_ADAPTER.json_schema())


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be written ({reason}); give --output a file in a folder of yours") from None


if __name__ == "__main__":
    SCHEMA_FILE.write_text(results_schema(), encoding="utf-8")
