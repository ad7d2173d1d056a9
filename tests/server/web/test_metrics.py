"""/metrics by the conventions of Prometheus, and what the documentation and the dashboard say of it."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from server.ipc.page import Page, telemetry_sections
from server.kernels.layout import stage_names
from server.web import metrics
from support.page_rules import cells
from support.serving import Serving

DOCS = Path(__file__).parents[3] / "docs"
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
NOT_BASE_UNITS = re.compile(
    r"_(ns|us|ms|s|sec|secs|min|minutes|hours|nanoseconds|microseconds|milliseconds|kb|kib|mb|mib|gb|kilobytes|megabytes"
    r"|bits|percent|percentage)(_|$)"
)
OF_OTHER_TYPES = ("_count", "_sum", "_bucket", "_info", "_created", "_gauge", "_counter")


@pytest.fixture(scope="module")
def families() -> dict[str, Metric]:
    """By name, as an expression writes it: a counter's with `_total`."""
    listed = metrics.exposition(Page.create(telemetry_sections(2))).decode()
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(listed)
    }


def complaints_of(name: str, family: Metric) -> list[str]:
    """What `promtool check metrics` and the naming guide of Prometheus would say of a family."""
    labels = {label for sample in family.samples for label in sample.labels}
    rules = {
        "its name is not pixelcanvas_ and lower case words": re.fullmatch(r"pixelcanvas(_[a-z][a-z0-9]*)+", name),
        "it has no help that is a sentence": re.fullmatch(r"[A-Z].*[^.]\.", family.documentation),
        "it is neither counter nor gauge": family.type in ("counter", "gauge"),
        "a gauge must not end in _total": family.type == "counter" or not name.endswith("_total"),
        "its unit is not a base unit": not NOT_BASE_UNITS.search(name),
        "its name ends as one of another type": not name.endswith(OF_OTHER_TYPES),
        "a unit comes last, before _total": not re.search(r"_(seconds|bytes)_(?!total$)", name),
        "a label is in its name": not any(re.search(rf"_by_{label}(_|$)", name) for label in labels),
        "a label is not a lower case word": all(re.fullmatch(r"[a-z]+", label) for label in labels),
        "it has no samples": family.samples,
    }
    return [f"{name}: {complaint}" for complaint, holds in rules.items() if not holds]


def test_conventions(families: dict[str, Metric]) -> None:
    assert not [line for name, family in families.items() for line in complaints_of(name, family)]


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("pixelcanvas_wait_ms", "gauge", "A wait."),
        ("pixelcanvas_wait_seconds", "gauge", "no sentence"),
        ("pixelcanvas_things_total", "gauge", "Things."),
        ("pixelcanvas_thing_count", "gauge", "Things."),
        ("pixelcanvas_bytes_sent", "gauge", "Bytes."),
        ("Pixelcanvas_things", "gauge", "Things."),
    ],
)
def test_what_breaks_them_is_found(name: str, kind: str, text: str) -> None:
    family = Metric(name, text, kind)
    family.add_sample(name, {}, 1)
    assert len(complaints_of(name, family)) == 1


def test_the_page_about_them_lists_all(families: dict[str, Metric]) -> None:
    listed = [[cell.strip("`") for cell in row] for row in cells((DOCS / "metrics.md").read_text(), "metrics")]
    real = [
        [name, family.type, ", ".join(family.samples[0].labels), family.documentation]
        for name, family in families.items()
    ]
    assert listed == real


def test_the_page_about_them_names_the_stages() -> None:
    text = (DOCS / "metrics.md").read_text()
    assert f"`stage` is {', '.join(stage_names()[:-1])} or {stage_names()[-1]}." in text


class TestDashboard:
    """Each expression asks for what there is, in a way that fits its type."""

    def test_its_metrics_are_there(self, families: dict[str, Metric]) -> None:
        variables = [variable["definition"] for variable in DASHBOARD["templating"]["list"][1:]]
        asked = {name for text in EXPRESSIONS + variables for name in re.findall(r"pixelcanvas_\w+", text)}
        assert len(asked) > 20
        assert not asked - set(families)

    @pytest.mark.parametrize("expression", EXPRESSIONS)
    def test_counters_by_their_rate_and_gauges_as_they_are(self, families: dict[str, Metric], expression: str) -> None:
        for found in re.finditer(r"(rate\()?(pixelcanvas_\w+)\{[^}]*\}(\[\$__rate_interval\])?", expression):
            is_counter = families[found[2]].type == "counter"
            assert bool(found[1]) == bool(found[3]) == is_counter, found[0]

    @pytest.mark.parametrize("expression", EXPRESSIONS)
    def test_labels_are_there(self, families: dict[str, Metric], expression: str) -> None:
        names = re.findall(r"pixelcanvas_\w+", expression)
        for label in re.findall(r"by \((\w+)\)", expression):
            assert all(label in families[name].samples[0].labels for name in names)
        assert expression.count("(") == expression.count(")")
        assert expression.count('{job=~"$job", instance=~"$instance"}') == len(names)

    def test_a_legend_names_what_a_sum_keeps(self) -> None:
        for panel in DASHBOARD["panels"]:
            for target in panel["targets"]:
                legend = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
                assert legend == list(dict.fromkeys(re.findall(r"by \((\w+)\)", target["expr"])))

    def test_panels_do_not_overlap(self) -> None:
        taken = [
            (x, y)
            for box in (panel["gridPos"] for panel in DASHBOARD["panels"])
            for x in range(box["x"], box["x"] + box["w"])
            for y in range(box["y"], box["y"] + box["h"])
        ]
        assert len(taken) == len(set(taken))
        assert max(x for x, _ in taken) < 24
        numbers = [panel["id"] for panel in DASHBOARD["panels"]]
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("loop", ["native", "portable", "mailbox"])
def test_connections_that_may_compress_are_told_while_they_are_open(loop: str) -> None:
    offer = (("Sec-WebSocket-Extensions", "permessage-deflate"),)
    with Serving(loop=loop) as serving, serving.client() as plain:
        with serving.client(headers=offer):
            plain.serve_until(lambda: metric(serving, "connections_deflated") == 1)
        plain.serve_until(lambda: metric(serving, "connections_deflated") == 0)


def metric(serving: Serving, name: str) -> float:
    """The first value of a family in the exposition."""
    lines = metrics.exposition(serving.telemetry).decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"pixelcanvas_{name}{{")).rpartition(" ")[2])
