"""Fixtures that many tests use."""

import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the long proofs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long proofs out unless --slow is given."""
    if config.getoption("--slow"):
        return
    slow = [item for item in items if "slow" in item.keywords]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if "slow" not in item.keywords]


@pytest.fixture(scope="session")
def smears() -> Path:
    """The folder of real images: all/Original/{Benign,Early,Pre,Pro}/*.jpg and all_idb1/im/*.jpg.

    They may not be redistributed, so a clone has none: LEUKOSCOPE_TEST_DATA names the folder.
    """
    folder = Path(os.environ.get("LEUKOSCOPE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real images are not here: LEUKOSCOPE_TEST_DATA names their folder")
    return folder
