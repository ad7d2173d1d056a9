"""What the server answers to a plain GET: the web page, the palette, the canvas as a picture, metrics, health.

Pure functions from a request, a page and the canvas to a response. The loops serve the WebSocket routes.
"""

import functools
import hashlib
import io
import json
from http import HTTPStatus
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.ipc.page import Page
from server.journal.fault import JournalState, describe
from server.kernels.layout import TICK_ROWS, State
from server.palette import PALETTE, hex_colors
from server.protocol.http import Header, RequestHead
from server.web import metrics

CANVAS_PATH = "/canvas"
ECHO_PATH = "/echo"
"""Served only when configured."""
PICTURE_PATH = "/canvas.png"
# A tick may be two intervals and this much late before it is reported: a busy laptop is not a fault.
TICK_SLACK_NS = 500_000_000

_TEXT = "text/plain; charset=utf-8"
_INDEX = "index.html"
# The page loads nothing from elsewhere, runs no inline script, and cannot be framed.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS: tuple[Header, ...] = (
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),  # The address may hold a token.
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_UPGRADE: tuple[Header, ...] = (("Upgrade", "websocket"),)
# no-cache: browsers ask again each time, and with an ETag mostly get a 304.
_COMMON: tuple[Header, ...] = (("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"))


class Response(NamedTuple):
    """An answer, as `Connection.respond` takes it. The body is there for HEAD too; the connection leaves it out."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


def respond(request: RequestHead, telemetry: Page, now_ns: int) -> Response:
    """The answer to a GET or HEAD that is not an upgrade, PICTURE_PATH aside. Unknown paths: 404."""
    path = request.path
    if path == "/":
        return _static(_INDEX, request)
    if path.startswith("/static/") and path != f"/static/{_INDEX}":
        return _static(path.removeprefix("/static/"), request)
    if path == "/palette.json":
        return _response("application/json", json.dumps(hex_colors()).encode())
    if path == "/metrics":
        return _response(metrics.CONTENT_TYPE, metrics.exposition(telemetry))
    if path == "/healthz":
        return _health(telemetry, now_ns)
    # A plain GET, as from a browser's address line.
    if path == CANVAS_PATH:
        return _refusal(HTTPStatus.UPGRADE_REQUIRED, f"{path} is a WebSocket; ask for an upgrade", _UPGRADE)
    return not_found()


def is_public(path: str) -> bool:
    """Whether this needs no token: the files of the page, and the health of the server."""
    return path in ("/", "/palette.json", "/healthz") or path.startswith("/static/")


def not_found() -> Response:
    """404, also for an upgrade to a path that is not a WebSocket."""
    return _refusal(HTTPStatus.NOT_FOUND, "nothing is served here; see / and /canvas")


def origin_refused(request: RequestHead) -> Response:
    """403 for an upgrade that `is_origin_allowed` rejects."""
    origin = request.headers.get("Origin")
    return _refusal(HTTPStatus.FORBIDDEN, f"pages of {origin} may not connect; add it to the server's origins")


def picture(pixels: NDArray[np.uint8]) -> Response:
    """The answer at PICTURE_PATH. `pixels`: palette indices, shape (height, width). Cost: O(pixels): not for a loop."""
    return _response("image/png", canvas_png(pixels))


def canvas_png(pixels: NDArray[np.uint8]) -> bytes:
    """A canvas as a PNG with the palette in it. `pixels`: palette indices, shape (height, width)."""
    height, width = pixels.shape
    picture = Image.frombytes("P", (width, height), pixels.tobytes())
    picture.putpalette(PALETTE.tobytes())
    # Level 1: the higher ones take several times as long for a few percent.
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def tick_fault(telemetry: Page, now_ns: int) -> str:
    """Why the tick is not on time, in one line; "" when it is."""
    server = telemetry["server"][0]
    state = State(int(server["state"]))
    if state != State.RUNNING:
        return f"the server is {state.name.lower()}"
    tick, interval_ns = int(server["tick"]), int(server["tick_interval_ns"])
    last_ns = int(telemetry["ticks"][tick % TICK_ROWS]["start_ns"])
    if last_ns == 0:
        return "no tick has finished yet"
    # The interval is the stretched one: a tick that waits for a slow broadcast is on time.
    late_ns, allowed_ns = now_ns - last_ns, 2 * interval_ns + TICK_SLACK_NS
    if late_ns <= allowed_ns:
        return ""
    return f"tick {tick} began {late_ns // 1_000_000} ms ago; at most {allowed_ns // 1_000_000} ms are on time"


def journal_fault(telemetry: Page) -> str:
    """Why nothing can be sent, in one line; "" when the journal accepts ticks, or they do not wait for it."""
    server = telemetry["server"][0]
    if not server["journal_gates"] or server["journal_state"] != JournalState.FAILED:
        return ""
    return f"tick {server['tick']} cannot be written to the journal: {describe(int(server['journal_trouble']))}"


def _health(telemetry: Page, now_ns: int) -> Response:
    fault = journal_fault(telemetry) or tick_fault(telemetry, now_ns)
    return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, fault) if fault else _response(_TEXT, b"ok\n")


def _response(content_type: str, body: bytes, headers: tuple[Header, ...] = ()) -> Response:
    return Response(HTTPStatus.OK, (("Content-Type", content_type), *_COMMON, *headers), body)


def _refusal(status: HTTPStatus, reason: str, headers: tuple[Header, ...] = ()) -> Response:
    return Response(status, (("Content-Type", _TEXT), *_COMMON, *headers), f"{reason}\n".encode())


@functools.cache
def _shipped() -> dict[str, tuple[bytes, str]]:
    """The files of the web page by name, each with its ETag. Read once; no path can reach any other file."""
    folder = resources.files("server.web") / "static"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if _type_of(file.name)}
    return {name: (body, f'"{hashlib.sha256(body).hexdigest()[:20]}"') for name, body in files.items()}


def _type_of(name: str) -> str:
    return _TYPES.get(name[name.rfind(".") :], "")


def _static(name: str, request: RequestHead) -> Response:
    """A file of the web page, or 304 when the browser has the same already."""
    if name not in _shipped():
        return not_found()
    body, tag = _shipped()[name]
    headers = (("ETag", tag), *_PAGE_HEADERS)
    # Proxies that compress mark the tag as weak; the file is still the same.
    held = [member.removeprefix("W/") for member in request.headers.tokens("If-None-Match")]
    if tag in held or "*" in held:
        return Response(HTTPStatus.NOT_MODIFIED, (*_COMMON, *headers), b"")
    return _response(_type_of(name), body, headers)
