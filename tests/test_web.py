"""The API of a running station, asked over HTTP as the page does."""

import csv
import hashlib
import io
import json
import shutil
import sqlite3
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from edge_app.bundle import default_bundle_path
from edge_app.manifest import INTENDED_USE
from tests.waiting import until
from tests.web import Running, running

DEMO = Path(__file__).parents[1] / "edge_app" / "data" / "demo"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good bundle and two that can't be used."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(default_bundle_path(), folder / "second.leuko")
    shutil.copytree(default_bundle_path(), folder / "damaged.leuko")
    with (folder / "damaged.leuko" / "model.tflite").open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\1\2\3")
    shutil.copytree(default_bundle_path(), folder / "wrong.leuko")
    manifest = json.loads((folder / "wrong.leuko" / "manifest.json").read_text())
    manifest["golden"]["tolerance"] = 1e-9
    (folder / "wrong.leuko" / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Running]:
    """A station that keeps records and is scaled; tests leave it as they found it, but for its records."""
    folder = tmp_path_factory.mktemp("records")
    with running(folder, bundle_folder=models, um_per_pixel=0.1) as it:
        until(lambda: it.client.get("/api/status").json()["verdict"])
        yield it


@pytest.fixture(scope="module")
def client(shared: Running) -> httpx.Client:
    return shared.client


def capture(client: httpx.Client) -> dict[str, object]:
    answer = client.post("/api/records")
    assert answer.status_code == 201, answer.text
    record = answer.json()
    assert isinstance(record, dict)
    return record


def test_the_status_has_all_that_a_page_shows(client: httpx.Client) -> None:
    status = client.get("/api/status").json()
    assert status["health"]["camera"] == "live"
    assert status["health"]["ready"] is True
    assert status["verdict"]["label"] in status["model"]["classes"]
    assert status["verdict"]["frame"] == {"width": 1280, "height": 960}
    assert status["model"]["certified"] is True
    assert status["model"]["threshold"] == status["model"]["bundle_threshold"]
    assert status["scale_bar"] == {"micrometres": 20, "pixels": 200}
    assert status["session"] == {"slide": "", "operator": "", "note": ""}
    assert status["intended_use"] == INTENDED_USE
    assert status["board"].keys() == {"model", "temperature_c", "throttling", "governor"}
    assert status["device"] == "bench"


def test_the_session_goes_into_each_record(client: httpx.Client) -> None:
    session = {"slide": "S-12", "operator": "mk", "note": "second smear"}
    assert client.put("/api/session", json=session).json() == session
    assert client.get("/api/session").json() == session
    assert session.items() <= capture(client).items()
    client.put("/api/session", json={})
    assert capture(client)["slide"] == ""


def test_a_session_with_control_characters_is_refused_with_a_sentence(client: httpx.Client) -> None:
    answer = client.put("/api/session", json={"slide": "a\nb"})
    assert answer.status_code == 422
    assert answer.json() == {"detail": "body slide can't be used: write it on one line, without control characters"}


def test_a_record_is_captured_found_annotated_deleted_and_restored(client: httpx.Client) -> None:
    record = capture(client)
    path = f"/api/records/{record['id']}"
    assert client.get(path).json() == record
    said = client.patch(path, json={"own_label": "Normal", "comment": "smudge cells"}).json()
    assert (said["own_label"], said["comment"], said["label"]) == ("Normal", "smudge cells", record["label"])
    assert client.patch(path, json={"comment": "none"}).json()["own_label"] == "Normal"
    assert client.patch(path, json={"own_label": None}).json()["own_label"] is None

    def listed(**query: object) -> bool:
        found = client.get("/api/records", params={key: str(value) for key, value in query.items()}).json()
        return record["id"] in [each["id"] for each in found["records"]]

    assert listed()
    assert listed(label=record["label"], text="none")
    assert not listed(own_label="Normal")
    assert client.delete(path).json()["deleted_at"] is not None
    assert not listed()
    assert listed(deleted=True)
    assert client.post(f"{path}/restore").json()["deleted_at"] is None
    assert listed()


def test_records_come_in_pages_newest_first(client: httpx.Client) -> None:
    for _ in range(3):
        capture(client)
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = client.get("/api/records", params={"limit": 2, **before}).json()
        seen += [record["id"] for record in page["records"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert len(seen) == len(set(seen)) == page["count"] >= 3
    assert seen == sorted(seen, reverse=True)


def test_a_records_image_is_the_frame_itself_and_the_overlay_is_drawn_on_a_copy(client: httpx.Client) -> None:
    record = capture(client)
    path = f"/api/records/{record['id']}"
    image = client.get(f"{path}/image")
    assert image.headers["content-type"] == "image/png"
    assert hashlib.sha256(image.content).hexdigest() == record["image_sha256"]
    plain = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR)
    overlaid = client.get(f"{path}/image", params={"overlay": "true"})
    drawn = cv2.imdecode(np.frombuffer(overlaid.content, np.uint8), cv2.IMREAD_COLOR)
    assert plain is not None
    assert drawn is not None
    assert plain.shape == drawn.shape == (960, 1280, 3)
    assert (cv2.absdiff(plain, drawn).max(axis=2) > 60).mean() > 0.002
    small = cv2.imdecode(np.frombuffer(client.get(f"{path}/thumbnail").content, np.uint8), cv2.IMREAD_COLOR)
    assert small is not None
    assert small.shape == (240, 320, 3)


def test_records_are_downloaded_as_table_and_as_zip_with_hashes(client: httpx.Client) -> None:
    client.put("/api/session", json={"slide": "export"})
    ids = {str(capture(client)["id"]) for _ in range(2)}
    client.put("/api/session", json={})
    table = client.get("/api/records.csv", params={"slide": "export"})
    assert table.headers["content-disposition"] == 'attachment; filename="leukoscope-records.csv"'
    assert {row["id"] for row in csv.DictReader(io.StringIO(table.text, newline=""))} == ids
    packed = client.get("/api/records.zip", params={"slide": "export"})
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["intended_use"] == INTENDED_USE
        assert {f"images/{each}.png" for each in ids} <= set(archive.namelist())
        for name, sha256 in manifest["files"].items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == sha256


def test_a_download_that_is_given_up_leaves_no_thread_behind(shared: Running) -> None:
    for _ in range(6):
        capture(shared.client)
    for _ in range(3):
        with shared.client.stream("GET", "/api/records.zip") as answer:
            next(answer.iter_bytes(100))
    until(lambda: not any(thread.name == "download" for thread in threading.enumerate()))


def test_models_of_the_folder_are_listed_and_only_good_ones_taken(client: httpx.Client, shared: Running) -> None:
    listed = {choice["name"]: choice for choice in client.get("/api/models").json()}
    assert list(listed) == ["shipped", "damaged.leuko", "second.leuko", "wrong.leuko"]
    assert listed["shipped"]["current"]
    assert listed["second.leuko"]["certified"]
    assert "sha256" in listed["damaged.leuko"]["problem"]
    for name in ("damaged.leuko", "wrong.leuko"):
        refused = client.put("/api/model", json={"name": name})
        assert refused.status_code == 422
        assert name in refused.json()["detail"]
    assert client.get("/api/status").json()["health"]["ready"]
    switched = client.put("/api/model", json={"name": "second.leuko"}).json()
    assert [choice["name"] for choice in switched if choice["current"]] == ["second.leuko"]
    events = [event["text"] for event in client.get("/api/status").json()["events"]]
    assert any(text.startswith("the model is now") for text in events)
    client.put("/api/model", json={"name": "shipped"})
    assert shared.station.bundle == default_bundle_path()


def test_a_bundle_from_elsewhere_is_listed_as_given_and_can_be_gone_back_to(models: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "of my own.leuko"
    shutil.copytree(default_bundle_path(), elsewhere)
    with running(bundle=elsewhere, bundle_folder=models) as it:
        listed = it.client.get("/api/models").json()
        assert [choice["name"] for choice in listed] == [
            "shipped",
            "damaged.leuko",
            "second.leuko",
            "wrong.leuko",
            "given",
        ]
        for name in ("shipped", "given"):
            assert [choice["name"] for choice in listed if choice["current"]] == ["given"]
            switched = it.client.put("/api/model", json={"name": name}).json()
            assert [choice["name"] for choice in switched if choice["current"]] == [name]
        assert it.station.bundle == elsewhere


def test_a_folder_of_bundles_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with running(bundle_folder=tmp_path / ("too-long" * 40)) as it:
        answer = it.client.get("/api/models")
    assert answer.status_code == 422
    assert "can't be read (File name too long); let the app's user read it" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["../second.leuko", "/etc", "second.leuko/../second.leuko", "", "nope", "a" * 200])
def test_a_model_that_is_not_in_the_list_is_not_found(client: httpx.Client, name: str) -> None:
    answer = client.put("/api/model", json={"name": name})
    assert answer.status_code == 404
    assert "choose one of the list" in answer.json()["detail"]


def test_the_threshold_changes_what_is_judged_next_and_null_is_the_bundles_own(client: httpx.Client) -> None:
    own = client.get("/api/status").json()["model"]["bundle_threshold"]
    assert client.put("/api/threshold", json={"threshold": 0.9}).json() == {"threshold": 0.9}
    until(lambda: client.get("/api/status").json()["verdict"]["threshold"] == 0.9)
    assert client.put("/api/threshold", json={"threshold": None}).json() == {"threshold": own}
    for bad, status in ((0, 409), (1.5, 409), ("x", 422), ([], 422)):
        assert client.put("/api/threshold", json={"threshold": bad}).status_code == status


def test_controls_are_set_and_locked(client: httpx.Client) -> None:
    controls = {control["name"]: control for control in client.get("/api/controls").json()}
    assert controls["auto_exposure"]["value"] is True
    refused = client.put("/api/controls/exposure_us", json={"value": 5000})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "exposure_us is set by the camera itself; switch auto_exposure off first"
    after = client.put("/api/controls/auto_exposure", json={"value": False}).json()
    assert {c["name"]: c["governed_by"] for c in after}["exposure_us"] is None
    after = client.put("/api/controls/exposure_us", json={"value": 9000}).json()
    assert {c["name"]: c["value"] for c in after}["exposure_us"] == 9000
    assert client.put("/api/controls/auto_exposure", json={"value": True}).status_code == 200
    assert client.put("/api/controls/nope", json={"value": 1}).status_code == 409


def test_white_balance_is_not_measured_on_a_field_with_cells(client: httpx.Client) -> None:
    answer = client.post("/api/white-balance")
    assert answer.status_code == 422
    assert "empty" in answer.json()["detail"]


def test_capturing_by_itself_is_switched(client: httpx.Client, shared: Running) -> None:
    assert client.put("/api/auto-capture", json={"on": True}).json() == {"on": True}
    assert shared.station.auto_capture
    client.put("/api/auto-capture", json={"on": False})
    assert not client.get("/api/status").json()["auto_capture"]


def test_an_uploaded_image_is_judged_and_not_kept(client: httpx.Client) -> None:
    before = client.get("/api/records").json()["count"]
    for name, label in (("leukaemic-1", "Cancer"), ("healthy-1", "Normal")):
        verdict = client.post("/api/classify", content=(DEMO / f"{name}.jpg").read_bytes()).json()
        assert verdict["label"] == label
    assert client.get("/api/records").json()["count"] == before


@pytest.mark.parametrize("body", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff" + bytes(100)])
def test_an_upload_that_is_no_whole_image_is_refused(client: httpx.Client, body: bytes) -> None:
    time.sleep(0.5)
    answer = client.post("/api/classify", content=body)
    assert answer.status_code == 422
    assert "the upload" in answer.json()["detail"] or "the body is empty" in answer.json()["detail"]


def test_the_newest_frame_is_a_jpeg(client: httpx.Client) -> None:
    answer = client.get("/api/frame.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (960, 1280, 3)


def test_metrics_count_frames_and_verdicts(client: httpx.Client) -> None:
    def figures() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    first = figures()
    judged = "leukoscope_frames_judged_total"
    until(lambda: figures()[judged] > first[judged])
    now = figures()
    assert now["leukoscope_frames_captured_total"] >= now[judged] - 1
    assert now["leukoscope_ready"] == now["leukoscope_recording"] == 1
    assert now['leukoscope_verdicts_total{label="Cancer",reason=""}'] > 0
    assert now['leukoscope_stage_seconds_count{stage="infer"}'] == pytest.approx(now[judged], abs=2)
    assert now["leukoscope_records"] == client.get("/api/records").json()["count"]


def test_a_full_disk_stops_recording_with_a_sentence_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path / "records", min_free_bytes=10**15) as it:
        until(lambda: it.client.get("/api/status").json()["verdict"])
        answer = it.client.post("/api/records")
        assert answer.status_code == 507
        health = it.client.get("/api/status").json()["health"]
        assert health["recording"] == "stopped"
        assert health["recording_problem"] == answer.json()["detail"]
        assert health["ready"]


def test_a_source_that_has_ended_is_alive_but_not_ready() -> None:
    with running(source="demo:?loops=1&stay=1&fps=100") as it:
        until(lambda: it.client.get("/api/status").json()["health"]["camera"] == "ended")
        assert it.client.get("/healthz").json() == {"alive": True}
        answer = it.client.get("/readiness")
        assert answer.status_code == 503
        assert "the camera is ended" in answer.json()["detail"]


def test_where_no_records_are_kept_the_answer_says_why() -> None:
    with running() as it:
        for said in ("no records are kept; start the app with its page", "no room is left; delete files"):
            for path in ("/api/records", "/api/records.csv"):
                refused = it.client.get(path)
                assert (refused.status_code, said in refused.text) == (409, True)
            it.station.stop_recording("no room is left; delete files")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/api/records/..%2f..%2fetc%2fpasswd/image",
        "/api/records/%2e%2e/image",
        "/api/records/01a20783-38bf-7000-b432-4e345221cc01%00/image",
        "/api/controls/..%2f..",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_folders(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 405, 422)
    assert answer.json().keys() == {"detail"}
    assert "import" not in answer.text
    assert "root:" not in answer.text


def test_a_record_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    path = "/api/records/01a20783-38bf-7000-b432-4e345221cc01"
    for answer in (client.get(path), client.get(f"{path}/image"), client.delete(path), client.patch(path, json={})):
        assert answer.status_code == 404
        assert "there is no record" in answer.json()["detail"]


def test_a_record_in_a_database_that_does_not_answer_is_not_said_to_be_gone(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        until(lambda: it.client.get("/api/status").json()["verdict"])
        path = f"/api/records/{capture(it.client)['id']}"
        with sqlite3.connect(tmp_path / "records.sqlite") as database:
            database.execute("ALTER TABLE record RENAME TO elsewhere")
        for answer in (it.client.get(path), it.client.get(f"{path}/image"), it.client.delete(path)):
            assert answer.status_code == 503
            assert "can't be used" in answer.json()["detail"]
