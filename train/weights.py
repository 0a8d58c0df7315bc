"""Pretrained weights, fetched by the library that made them."""

from pathlib import Path

from benchmarks.torch_pair import import_torchvision
from edge_app.errors import TrainingError


def fetch_pretrained(name: str) -> Path:
    """Return the file of Ultralytics' weights of that name, fetched into its weights folder if it is not there.

    Raises TrainingError without a network.
    """
    import_torchvision()
    from ultralytics.utils import SETTINGS
    from ultralytics.utils.downloads import attempt_download_asset

    wanted = Path(SETTINGS["weights_dir"], name)
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        file = Path(attempt_download_asset(wanted))
    except (OSError, ConnectionError, RuntimeError, ValueError) as error:
        raise _unfetched(name, f" ({error})") from error
    if not file.is_file():
        raise _unfetched(name, "")
    return file


def _unfetched(name: str, reason: str) -> TrainingError:
    return TrainingError(
        f"the pretrained weights {name} can't be fetched{reason}; "
        "give them with --weights FILE --trust-weights, or train with --from-scratch"
    )
