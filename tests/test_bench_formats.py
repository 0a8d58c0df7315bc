from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.formats import command
from benchmarks.graphs import Operation, executed_operations, listing
from benchmarks.result_files import read_results
from benchmarks.results import LatencyResults
from edge_app.bundle import default_bundle_path, open_bundle
from edge_app.errors import InputError
from edge_app.runtimes import model_of
from tests.conftest import FORMATS


def test_the_page_puts_every_bundle_beside_its_float32_one(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    paths = [str(tiny_bundles[name]) for name in ("tflite-fp32", "tflite-int8")]
    output = tmp_path / "formats.md"
    result = CliRunner().invoke(command, [*paths, "-o", str(output), "--seconds", "0.1", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    text = output.read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "| yolo11n-scene" in line]
    plain, small = rows[:2]
    assert plain[:2] == ["yolo11n-scene-tflite-fp32", "yes"]
    assert plain[7] == "100"
    assert plain[9] == "1.00"
    assert small[0] == "yolo11n-scene-tflite-int8"
    assert 20 < float(small[7]) < 35
    assert float(small[8]) > 0
    assert "CONV_2D int8" in rows[3][1]
    assert isinstance(read_results(output.with_suffix(".json")), LatencyResults)
    # the same page of the times that were kept, without measuring again
    again = tmp_path / "again.md"
    CliRunner().invoke(command, [*paths, "-o", str(again), "--latency", str(output.with_suffix(".json"))])
    assert again.read_text() == text


def test_times_of_another_kind_are_refused(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    arguments = [str(tiny_bundles["tflite-fp32"]), "-o", str(tmp_path / "a.md"), "--latency", str(tmp_path / "x.json")]
    assert isinstance(CliRunner().invoke(command, arguments).exception, InputError)


def test_a_page_that_would_lie_where_the_times_go_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "formats.json"
    refused = CliRunner().invoke(command, [str(default_bundle_path()), "-o", str(output)]).exception
    assert isinstance(refused, InputError)
    assert "name --output a Markdown file, such as formats.md" in str(refused)
    assert not output.exists()


@pytest.mark.parametrize("model_format", FORMATS)
def test_what_is_executed_is_told_operation_by_operation(model_format: str, tiny_bundles: dict[str, Path]) -> None:
    operations = executed_operations(model_of(open_bundle(tiny_bundles[f"{model_format}-int8"])))
    heavy = [each for each in operations if "CONV" in each.kind.upper()]
    assert len(heavy) > 30
    # OpenVINO keeps some of the attention in float
    assert sum(each.type in ("int8", "uint8", "i8", "u8") for each in heavy) > 0.9 * len(heavy)


def test_openvinos_operations_are_told_in_the_type_that_our_runtime_takes(tiny_bundles: dict[str, Path]) -> None:
    operations = executed_operations(model_of(open_bundle(tiny_bundles["openvino-fp16"])))
    assert {each.type for each in operations if each.kind == "Convolution"} <= {"f32", "f16"}


def test_operations_are_listed_by_number() -> None:
    operations = [Operation("Conv", "int8"), Operation("Add", "int8"), Operation("Conv", "int8")]
    assert listing(operations) == "2 × Conv int8, 1 × Add int8"
