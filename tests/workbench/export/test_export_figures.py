"""Tables, the log for Foxglove and the text for Prometheus, each opened by another reader."""

import base64
import csv
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from plots.history import LATENCY_BANDS
from server.palette import PALETTE
from support import recorded
from support.exported import CREATED_NS, TICKS, Canvases, export, make_source, source_in
from workbench.errors import UserError
from workbench.export.command import ExportOptions
from workbench.export.exposition import prometheus_name
from workbench.recording.reader import Recording
from workbench.recording.schema import SAMPLE_COLUMNS, STAGE_COLUMNS, TICK_LOG_COLUMNS


@pytest.fixture
def canvases(tmp_path: Path) -> Canvases:
    """The canvas after each tick of the recording that is exported."""
    return make_source(tmp_path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class TestTables:
    def test_samples_as_csv_equal_the_recording(self, tmp_path: Path, canvases: Canvases) -> None:
        rows = rows_of(export(tmp_path, ".csv"))
        assert len(rows) == TICKS
        for number, row in enumerate(rows, 1):
            sample = recorded.sample_of(number)
            assert row["time_utc"] == f"2026-01-02T03:04:{5 + number / 10:09.6f}Z"
            assert (row["time_s"], row["time_ns"]) == (str(number / 10), str(recorded.time_of(number)))
            assert row["latency_ms_p50"] == ""
            for name in set(SAMPLE_COLUMNS) - {"latency_ms_p50"}:
                assert sample[name].dtype.type(row[name]) == sample[name]
            counts = [int(row[f"latency_counts_{band}"]) for band in range(LATENCY_BANDS)]
            assert counts == sample["latency_counts"].tolist()

    def test_samples_as_parquet_keep_types_and_metadata(self, tmp_path: Path, canvases: Canvases) -> None:
        table = pq.read_table(export(tmp_path, ".parquet"))
        samples = [recorded.sample_of(number) for number in range(1, TICKS + 1)]
        assert table.num_rows == TICKS
        assert str(table.schema.field("time_utc").type) == "timestamp[ns, tz=UTC]"
        assert str(table.schema.field("offered_per_s").type) == "float"
        assert table["latency_ms_p50"].null_count == TICKS
        assert table["admitted_per_s"].to_pylist() == [float(sample["admitted_per_s"]) for sample in samples]
        assert table["latency_counts"].to_pylist() == [sample["latency_counts"].tolist() for sample in samples]
        first = table["time_utc"].cast("int64")[0].as_py()
        assert first == CREATED_NS + recorded.TICK_NS
        assert table.schema.metadata[b"pixelcanvas.seed"] == b"1"

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_ticks(self, ending: str, tmp_path: Path, canvases: Canvases) -> None:
        rows = self._rows(export(tmp_path, ending, ExportOptions(table="ticks")))
        assert [int(row["tick"]) for row in rows] == list(range(1, TICKS + 1))
        last = recorded.tick_of(TICKS)[0]
        for name in TICK_LOG_COLUMNS[2:10]:
            assert int(rows[-1][name]) == last[name]
        assert [int(rows[-1][f"depth_peak_{stage}"]) for stage in STAGE_COLUMNS] == last["depth_peak"].tolist()
        assert int(rows[-1]["time_ns"]) == last["start_ns"]

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_stages_of_a_span(self, ending: str, tmp_path: Path, canvases: Canvases) -> None:
        options = ExportOptions(table="stages", from_s=0.2, to_s=0.3)
        rows = self._rows(export(tmp_path, ending, options))
        assert {int(row["number"]) for row in rows} == {2, 3}
        (admit,) = (row for row in rows if row["stage"] == "admit" and int(row["number"]) == 3)
        assert (float(admit["throughput_per_s"]), float(admit["drops_per_s"])) == (1003, 4.5)
        assert admit["waiting_ms"] in ("", None)

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_markers(self, ending: str, tmp_path: Path, canvases: Canvases) -> None:
        (row,) = self._rows(export(tmp_path, ending, ExportOptions(table="markers")))
        assert (row["kind"], row["text"], float(row["time_s"])) == ("knob", "rate limit 60 > 30", 0.2)

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_a_span_without_markers_is_an_empty_table(self, ending: str, tmp_path: Path, canvases: Canvases) -> None:
        assert self._rows(export(tmp_path, ending, ExportOptions(table="markers", from_s=1))) == []

    def _rows(self, path: Path) -> list[dict[str, Any]]:
        if path.suffix == ".csv":
            return list(rows_of(path))
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows


class TestFoxglove:
    @pytest.fixture
    def log(self, tmp_path: Path, canvases: Canvases) -> Iterator[Any]:
        with export(tmp_path, ".mcap", ExportOptions(fps=10)).open("rb") as file:
            yield make_reader(file, validate_crcs=True)

    def test_the_canvas_is_an_image_where_it_changed(self, log: Any, canvases: Canvases) -> None:
        logged = list(log.iter_messages(topics=["/canvas"]))
        assert len(logged) == TICKS + 1
        for number, (schema, channel, message) in enumerate(logged):
            assert (schema.name, schema.encoding, channel.message_encoding) == (
                "foxglove.CompressedImage", "jsonschema", "json",
            )  # fmt: skip
            content = json.loads(message.data)
            stamp = content["timestamp"]
            assert stamp["sec"] * 10**9 + stamp["nsec"] == message.log_time == CREATED_NS + number * recorded.TICK_NS
            assert content["format"] == "png"
            with Image.open(BytesIO(base64.b64decode(content["data"]))) as image:
                np.testing.assert_array_equal(np.array(image.convert("RGB")), PALETTE[canvases[number]])

    def test_figures_are_the_samples_without_unknown_values(self, log: Any) -> None:
        logged = [json.loads(message.data) for _, _, message in log.iter_messages(topics=["/figures"])]
        assert [round(figures["time_s"] * 10) for figures in logged] == list(range(1, TICKS + 1))
        assert logged[4]["admitted_per_s"] == float(recorded.sample_of(5)["admitted_per_s"])
        assert "latency_ms_p50" not in logged[4]

    def test_stages_markers_and_diagnoses_are_logged(self, log: Any) -> None:
        content = {}
        for _, channel, message in log.iter_messages():
            content.setdefault(channel.topic, []).append(json.loads(message.data))
        assert len(content["/stages"]) == TICKS
        assert set(content["/stages"][0]) == {*STAGE_COLUMNS, "viewers"}
        assert content["/stages"][2]["admit"]["throughput_per_s"] == 1003
        (marker,) = content["/markers"]
        assert (marker["name"], marker["message"], marker["level"]) == ("knob", "rate limit 60 > 30", 2)
        assert [one["message"] for one in content["/diagnosis"]] == ["idle", "94 % busy"]

    def test_messages_follow_their_schemas_in_order_of_time(self, log: Any) -> None:
        times = []
        for schema, _, message in log.iter_messages(log_time_order=False):
            fields = json.loads(schema.data)["properties"]
            assert set(json.loads(message.data)) <= set(fields)
            times.append(message.log_time)
        assert times == sorted(times)

    def test_the_scenario_is_attached(self, log: Any, tmp_path: Path) -> None:
        (attachment,) = log.iter_attachments()
        with Recording.open(source_in(tmp_path)) as recording:
            assert (attachment.name, attachment.data.decode()) == ("scenario.toml", recording.meta["scenario"])
        (facts,) = log.iter_metadata()
        assert facts.name == "pixelcanvas.recording" and facts.metadata["seed"] == "1"


class TestExposition:
    def test_prometheus_parses_it(self, tmp_path: Path, canvases: Canvases) -> None:
        text = export(tmp_path, ".prom").read_text()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        last = recorded.sample_of(TICKS)
        (admitted,) = families["pixelcanvas_admitted_per_second"].samples
        assert admitted.value == last["admitted_per_s"]
        (latency,) = families["pixelcanvas_latency_seconds_p99"].samples
        assert latency.value == pytest.approx(float(last["latency_ms_p99"]) / 1000)
        assert families["pixelcanvas_sent"].type == "counter"
        assert "pixelcanvas_latency_seconds_p50" not in families
        rates = {one.labels["stage"]: one.value for one in families["pixelcanvas_stage_throughput_per_second"].samples}
        assert rates == {"admit": 1000 + TICKS, "viewers": 10}
        (info,) = families["pixelcanvas_recording_info"].samples
        assert info.labels["scenario"] == "first_light"

    def test_metric_names_are_unique(self) -> None:
        names = [prometheus_name(column)[0] for column in SAMPLE_COLUMNS]
        assert len(set(names)) == len(names)

    def test_a_span_without_samples_is_rejected(self, tmp_path: Path, canvases: Canvases) -> None:
        with pytest.raises(UserError, match="no samples between --from and --to"):
            export(tmp_path, ".prom", ExportOptions(from_s=0.51, to_s=0.59))
