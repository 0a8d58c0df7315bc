"""The OpenAPI: what is thrown at the API by it gives answers that are in it, and never a 500."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from edge_app.bundle import default_bundle_path
from edge_app.cameras import Camera
from edge_app.station import Station
from edge_app.web.app import create_app
from tests.waiting import until
from tests.web import load, running

STREAMS = {"/api/verdicts", "/api/view.mjpeg"}
# beside these, 503 and 507 are told of in the OpenAPI, as what the device can't help
CHECKS: list[Any] = [status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
METHODS = {"get", "put", "post", "patch", "delete"}


def throw(folder: Path, caplog: pytest.LogCaptureFixture, examples: int) -> int:
    """Throw right and wrong requests at each operation; returns how many."""
    thrown = 0
    with running(folder) as it:
        until(lambda: it.station.judged.value)
        assert it.client.post("/api/records").status_code == 201
        schema = schemathesis.openapi.from_dict(_plain(it.client.get("/api/openapi.json").json()))
        operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
        assert len(operations) > 25
        for operation in operations:
            if operation.path in STREAMS or not _takes_something(operation):
                continue
            strategy = st.one_of([operation.as_strategy(mode) for mode in MODES])

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(strategy)
            def ask(case: Case[Any]) -> None:
                nonlocal thrown
                thrown += 1
                response = case.call(base_url=it.server.url.rstrip("/"), timeout=20)
                assert response.status_code != 500, case.as_curl_command()
                case.validate_response(response, checks=CHECKS)

            ask()
        assert it.client.get("/readiness").status_code == 200, "and it still judges"
    assert not [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]
    return thrown


def test_nothing_thrown_at_the_api_gives_a_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert throw(tmp_path / "records", caplog, examples=2) > 25


@pytest.mark.slow
def test_nothing_thrown_at_the_api_for_long_gives_a_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert throw(tmp_path / "records", caplog, examples=100) > 1000


def test_every_operation_says_what_it_does_and_what_may_go_wrong() -> None:
    paths = create_app(Station(_no_camera, load, default_bundle_path())).openapi()["paths"]
    for path, item in paths.items():
        for method in METHODS & item.keys():
            assert item[method]["description"].endswith("."), f"{method} {path}"
            assert {"422", "503"} <= item[method]["responses"].keys(), f"{method} {path}"


def _takes_something(operation: Any) -> bool:
    return bool(operation.body or operation.query or operation.path_parameters)


def _plain(schema: Any) -> Any:
    """Return a schema with tuples as arrays: schemathesis 4.32 writes `prefixItems` as a draft that it refuses then."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "prefixItems" in schema:
        schema = schema | {"items": schema["prefixItems"][0]}
    return {key: _plain(value) for key, value in schema.items() if key != "prefixItems"}


def _no_camera(_: Callable[[str], None]) -> Camera:
    raise AssertionError("nothing is opened before the station is entered")
