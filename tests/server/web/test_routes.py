"""HTTP heads, the Origin rule, and what the server answers to a plain GET."""

import io
import json
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from server.ipc.page import Page, canvas_sections, telemetry_sections
from server.kernels.layout import Stage, State, stage_names
from server.palette import PALETTE
from server.protocol.http import (
    HEAD_BYTES_MAX,
    Headers,
    HttpFault,
    RequestHead,
    encode_request,
    encode_response,
    is_origin_allowed,
    parse_request,
    parse_response,
    take_head,
)
from server.web import routes as http

NOW = 50_000_000_000
INTERVAL_NS = 100_000_000


def get(path: str, *fields: tuple[str, str]) -> RequestHead:
    return RequestHead("GET", path, Headers((("Host", "canvas.example"), *fields)))


class TestTakeHead:
    def test_a_head_is_cut_off_when_whole(self) -> None:
        buffer = bytearray(b"GET / HTTP/1.1\r\nHost: a\r\n\r")
        assert take_head(buffer) is None
        buffer += b"\nrest"
        assert take_head(buffer) == "GET / HTTP/1.1\r\nHost: a"
        assert buffer == b"rest"

    @pytest.mark.parametrize(("size", "is_taken"), [(HEAD_BYTES_MAX, True), (HEAD_BYTES_MAX + 1, False)])
    def test_8_kib_and_no_byte_more(self, size: int, is_taken: bool) -> None:
        buffer = bytearray(b"x" * (size - 4) + b"\r\n\r\n")
        if is_taken:
            assert take_head(buffer) == "x" * (size - 4)
        else:
            with pytest.raises(HttpFault, match="longer than the 8192 bytes") as caught:
                take_head(buffer)
            assert caught.value.status == 431


class TestParseRequest:
    def test_what_is_in_it(self) -> None:
        request = parse_request("GET /a%20b?c=d HTTP/1.1\r\nHost: a\r\nX-List: one , two\r\nx-list:\tthree\t")
        assert (request.method, request.target, request.path) == ("GET", "/a%20b?c=d", "/a b")
        assert request.headers.get("HOST") == "a"
        assert request.headers.get("missing") is None
        assert request.headers.all("X-LIST") == ["one , two", "three"]
        assert request.headers.tokens("X-List") == ["one", "two", "three"]
        assert request.headers.has_token("x-list", "TWO")
        assert not request.headers.has_token("x-list", "tw")

    @pytest.mark.parametrize(
        ("target", "path"),
        [("/", "/"), ("//x/y", "//x/y"), ("http://a/b?c", "/b"), ("http://a", "/"), ("/%2e%2e/%00", "/../\0")],
    )
    def test_path(self, target: str, path: str) -> None:
        assert parse_request(f"GET {target} HTTP/1.1\r\nHost: a").path == path

    @pytest.mark.parametrize(
        ("head", "status", "reason"),
        [
            ("", 400, "request line '' is malformed"),
            ("GET /", 400, "request line"),
            ("GET  / HTTP/1.1\r\nHost: a", 400, "request line"),
            ("GET / HTTP/1.1 \r\nHost: a", 400, "request line"),
            ("G(T / HTTP/1.1\r\nHost: a", 400, "request line"),
            ("GET / HTTP/11\r\nHost: a", 400, "request line"),
            ("\r\nGET / HTTP/1.1\r\nHost: a", 400, "request line"),
            ("GET x HTTP/1.1\r\nHost: a", 400, "neither a path"),
            ("GET / HTTP/2.0\r\nHost: a", 505, "HTTP/2.0 is not supported"),
            ("POST / HTTP/1.1\r\nHost: a", 405, "method POST is not allowed; GET, HEAD are"),
            ("get / HTTP/1.1\r\nHost: a", 405, "method get is not allowed"),
            ("GET / HTTP/1.1", 400, "0 Host headers"),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: b", 400, "2 Host headers"),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded", 400, "is folded over lines"),
            ("GET / HTTP/1.1\r\nHost : a", 400, "is malformed"),
            ("GET / HTTP/1.1\r\nHost", 400, "is malformed"),
            ("GET / HTTP/1.1\r\n: a", 400, "is malformed"),
            ("GET / HTTP/1.1\r\nHost: a\nX: b", 400, "is malformed"),
            ("GET / HTTP/1.1\r\nHost: a\0", 400, "is malformed"),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1", 400, "with a body"),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", 400, "with a body"),
        ],
    )
    def test_refusals(self, head: str, status: int, reason: str) -> None:
        with pytest.raises(HttpFault) as caught:
            parse_request(head)
        assert caught.value.status == status
        assert reason in caught.value.reason

    def test_405_says_what_is_allowed(self) -> None:
        with pytest.raises(HttpFault) as caught:
            parse_request("DELETE / HTTP/1.1\r\nHost: a")
        assert caught.value.headers == (("Allow", "GET, HEAD"),)

    def test_http_1_0_needs_no_host(self) -> None:
        assert parse_request("GET / HTTP/1.0").minor_version == 0

    @given(st.text(st.characters(max_codepoint=255), max_size=80))
    @settings(deadline=None)
    def test_any_text_gives_a_request_or_a_fault(self, text: str) -> None:
        for head in (text, "GET / HTTP/1.1\r\nHost: a\r\n" + text):
            try:
                request = parse_request(head)
            except HttpFault as fault:
                assert 400 <= fault.status <= 505
            else:
                assert request.path.startswith("/")


class TestEncoding:
    def test_round_trip(self) -> None:
        fields = [("Host", "a"), ("X", "1, 2")]
        head = take_head(bytearray(encode_request("GET", "/x", fields)))
        assert head is not None
        assert parse_request(head) == RequestHead("GET", "/x", Headers(tuple(fields)))
        head = take_head(bytearray(encode_response(404, fields, b"body")))
        assert head is not None
        response = parse_response(head)
        assert (response.status, response.phrase) == (404, "Not Found")
        assert response.headers.fields == (*fields, ("Content-Length", "4"))

    @pytest.mark.parametrize("line", ["HTTP/1.1 20 OK", "HTTP/1.1 600 X", "HTTP/2 200", "junk", ""])
    def test_a_status_line_that_is_none(self, line: str) -> None:
        with pytest.raises(HttpFault, match="status line"):
            parse_response(line)

    def test_a_phrase_may_be_missing(self) -> None:
        assert parse_response("HTTP/1.1 200").status == parse_response("HTTP/1.1 200 ").status == 200

    @pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "a\r"])
    def test_nobody_gets_a_header_of_his_own_in(self, value: str) -> None:
        with pytest.raises(ValueError, match="line end"):
            encode_request("GET", "/", [("Host", value)])


class TestOrigin:
    @pytest.mark.parametrize(
        ("host", "origin", "is_allowed"),
        [
            ("canvas.example", None, True),
            ("canvas.example", "http://canvas.example", True),
            ("Canvas.Example:80", "http://canvas.EXAMPLE", True),
            ("canvas.example:8080", "http://canvas.example:8080", True),
            ("canvas.example", "https://canvas.example:443", True),
            ("canvas.example", "https://listed.example", True),
            ("canvas.example:8080", "http://canvas.example", False),
            ("canvas.example", "http://canvas.example.evil", False),
            ("canvas.example", "http://evil.example", False),
            ("canvas.example", "http://listed.example", False),
            ("canvas.example", "file://canvas.example", False),
            ("canvas.example", "null", False),
            ("canvas.example", "", False),
        ],
    )
    def test_same_origin_the_list_or_no_origin(self, host: str, origin: str | None, is_allowed: bool) -> None:
        fields = [("Host", host)] + ([("Origin", origin)] if origin is not None else [])
        request = RequestHead("GET", "/canvas", Headers(tuple(fields)))
        assert is_origin_allowed(request, ["https://listed.example"]) is is_allowed

    def test_two_origins_are_none(self) -> None:
        origin = ("Origin", "http://canvas.example")
        assert not is_origin_allowed(get("/canvas", origin, origin))

    def test_the_answer_names_the_origin_and_the_remedy(self) -> None:
        response = http.origin_refused(get("/canvas", ("Origin", "http://evil.example")))
        assert response.status == 403
        assert b"http://evil.example" in response.body
        assert b"origins" in response.body


@pytest.fixture
def telemetry() -> Page:
    """A server that ran its tick 42 just now, on two loops."""
    page = Page.create(telemetry_sections(2))
    page["server"][0]["state"] = State.RUNNING
    page["server"][0]["tick"] = 42
    page["server"][0]["tick_interval_ns"] = INTERVAL_NS
    page["ticks"][42]["start_ns"] = NOW
    return page


@pytest.fixture
def canvas() -> Page:
    """Each pixel another colour, 16 x 8."""
    page = Page.create(canvas_sections(16, 8))
    page["pixels"][:] = np.arange(128, dtype=np.uint8).reshape(8, 16)
    return page


class TestRoutes:
    def test_the_web_page(self, telemetry: Page) -> None:
        response = http.respond(get("/"), telemetry, NOW)
        headers = dict(response.headers)
        assert response.status == 200
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert response.body == (resources.files("server.web") / "static" / "index.html").read_bytes()

    @pytest.mark.parametrize(
        "path",
        [
            "/nothing",
            "/static/",
            "/static/nothing.js",
            "/static/index.html",
            "/static/../http.py",
            "/static/%2e%2e/http.py",
            "/static/..%2fhttp.py",
            "/static//etc/passwd",
            "/static/%00",
            "//",
        ],
    )
    def test_nothing_else_is_reached(self, path: str, telemetry: Page) -> None:
        response = http.respond(get(path), telemetry, NOW)
        assert response.status == 404
        assert b"nothing is served here" in response.body

    @pytest.mark.parametrize(("name", "kind"), [("page.js", "text/javascript"), ("page.css", "text/css")])
    def test_files_of_the_page_are_sent_anew_only_when_they_changed(
        self, telemetry: Page, name: str, kind: str
    ) -> None:
        first = http.respond(get(f"/static/{name}"), telemetry, NOW)
        assert first.body == (resources.files("server.web") / "static" / name).read_bytes()
        assert dict(first.headers)["Content-Type"] == f"{kind}; charset=utf-8"
        tag = dict(first.headers)["ETag"]
        for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = http.respond(get(f"/static/{name}", ("If-None-Match", held)), telemetry, NOW)
            assert (again.status, again.body, dict(again.headers)["ETag"]) == (304, b"", tag)
        assert http.respond(get(f"/static/{name}", ("If-None-Match", '"other"')), telemetry, NOW) == first

    def test_304_has_no_length(self) -> None:
        head = take_head(bytearray(encode_response(304, [("ETag", '"x"')])))
        assert head is not None
        assert parse_response(head).headers.get("Content-Length") is None

    def test_palette(self, telemetry: Page) -> None:
        response = http.respond(get("/palette.json"), telemetry, NOW)
        colors = json.loads(response.body)
        assert dict(response.headers)["Content-Type"] == "application/json"
        assert [[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in colors] == PALETTE.tolist()

    def test_canvas_as_a_picture(self, canvas: Page) -> None:
        response = http.picture(canvas["pixels"])
        with Image.open(io.BytesIO(response.body), formats=["PNG"]) as picture:
            assert picture.size == (16, 8)
            assert np.array_equal(np.asarray(picture), canvas["pixels"])
            assert np.array_equal(np.asarray(picture.convert("RGB")), PALETTE[canvas["pixels"]])

    def test_a_websocket_asked_for_plainly(self, telemetry: Page) -> None:
        response = http.respond(get("/canvas"), telemetry, NOW)
        assert response.status == 426
        assert ("Upgrade", "websocket") in response.headers

    def test_a_query_changes_no_route(self, telemetry: Page) -> None:
        assert http.respond(get("/palette.json?now"), telemetry, NOW).status == 200


class TestHealth:
    def check(self, telemetry: Page, now_ns: int) -> tuple[int, str]:
        response = http.respond(get("/healthz"), telemetry, now_ns)
        return response.status, response.body.decode()

    def test_on_time(self, telemetry: Page) -> None:
        assert self.check(telemetry, NOW) == (200, "ok\n")
        assert self.check(telemetry, NOW + 2 * INTERVAL_NS + http.TICK_SLACK_NS) == (200, "ok\n")

    def test_late(self, telemetry: Page) -> None:
        reason = "tick 42 began 701 ms ago; at most 700 ms are on time\n"
        late_ns = 2 * INTERVAL_NS + http.TICK_SLACK_NS + 1_000_000
        assert self.check(telemetry, NOW + late_ns) == (503, reason)

    def test_a_stretched_tick_has_more_time(self, telemetry: Page) -> None:
        telemetry["server"][0]["tick_interval_ns"] = 10 * INTERVAL_NS
        assert self.check(telemetry, NOW + 20 * INTERVAL_NS)[0] == 200

    def test_before_the_first_tick(self, telemetry: Page) -> None:
        telemetry["server"][0]["tick"] = 0
        assert self.check(telemetry, NOW) == (503, "no tick has finished yet\n")

    @pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.FAILED])
    def test_not_running(self, state: State, telemetry: Page) -> None:
        telemetry["server"][0]["state"] = state
        assert self.check(telemetry, NOW) == (503, f"the server is {state.name.lower()}\n")


class TestMetrics:
    def scrape(self, telemetry: Page) -> dict[tuple[str, ...], float]:
        response = http.respond(get("/metrics"), telemetry, NOW)
        assert dict(response.headers)["Content-Type"].startswith("text/plain; version=")
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(response.body.decode())
            for sample in family.samples
        }

    def test_counters_by_loop_stage_and_reason(self, telemetry: Page) -> None:
        telemetry["loops"][1]["admitted_count"] = 7
        telemetry["loops"][0]["shed_count"] = 3
        telemetry["loops"][1]["connection_count"] = 5
        telemetry["stages"][1, Stage.DECODE]["busy_ns"] = 2_500_000_000
        telemetry["stages"][0, Stage.FANOUT]["depth_peak"] = 9
        samples = self.scrape(telemetry)
        assert samples["pixelcanvas_placements_admitted_total", "1"] == 7
        assert samples["pixelcanvas_placements_admitted_total", "0"] == 0
        assert samples["pixelcanvas_placements_dropped_total", "0", "overload"] == 3
        assert samples["pixelcanvas_connections", "1"] == 5
        assert samples["pixelcanvas_stage_busy_seconds_total", "1", "decode"] == 2.5
        assert samples["pixelcanvas_stage_queue_depth_peak", "0", "fan-out"] == 9

    def test_the_last_tick(self, telemetry: Page) -> None:
        telemetry["ticks"][42]["lateness_ns"] = 1_500_000
        samples = self.scrape(telemetry)
        assert samples["pixelcanvas_ticks_total",] == 42
        assert samples["pixelcanvas_tick_interval_seconds",] == pytest.approx(0.1)
        assert samples["pixelcanvas_tick_lateness_seconds",] == pytest.approx(0.0015)

    def test_every_family_is_explained_and_named_by_the_conventions(self, telemetry: Page) -> None:
        body = http.respond(get("/metrics"), telemetry, NOW).body.decode()
        families = list(text_string_to_metric_families(body))
        assert len({family.name for family in families}) == len(families) > 30
        for family in families:
            assert family.name.startswith("pixelcanvas_")
            assert family.documentation.endswith(".")
            assert not family.name.endswith(("_ns", "_ms", "_count"))
            assert family.samples
        stages = {
            sample.labels["stage"] for family in families for sample in family.samples if "stage" in sample.labels
        }
        assert stages == set(stage_names())

    def test_no_process_metrics_of_the_library(self, telemetry: Page) -> None:
        assert b"python_info" not in http.respond(get("/metrics"), telemetry, NOW).body
