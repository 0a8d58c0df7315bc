import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edge_app.errors import StoreError, StoreFullError
from edge_app.store import open_store
from tests.store_verdicts import image_files, keep_one


@pytest.mark.slow
def test_a_full_disk_stops_recording_and_harms_nothing(tmp_path: Path) -> None:
    """On a file system of 16 MB, in a mount namespace of its own, which takes root or user namespaces."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=16m none "$0" && exec "$@"'
    arguments = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", mount, disk]
    result = subprocess.run(
        [*arguments, sys.executable, "-m", "tests.store_filler", disk],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert result.returncode == 0, result.stderr
    met = json.loads(result.stdout)
    for step in ("keep", "write", "annotate", "open"):
        assert met[f"{step} found it full"], met
        assert met[f"{step} went well"], met
    assert met["keep with room went well"] == 2


def test_a_write_that_is_refused_midway_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files: the disk has room, and yet a write fails, now of the image, now of the database."""
    with open_store(tmp_path, device="scope-1", min_free_bytes=0) as store:
        kept = [keep_one(store) for _ in range(3)]
        size = kept[0].image_bytes
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        log = (tmp_path / "records.sqlite-wal").stat().st_size
        assert log > 2 * size
        for limit in (0, 1, size - 1, 2 * size, log + 1, log + 5000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            try:
                with pytest.raises(StoreFullError if limit < size else StoreError):
                    keep_one(store)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert image_files(tmp_path) == {record.image for record in kept}
        kept.append(keep_one(store))
        assert store.find() == kept[::-1]
    with open_store(tmp_path, device="scope-1") as store:
        assert store.find() == kept[::-1]
        assert store.repaired.imported == 0
