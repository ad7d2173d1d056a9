"""Chromium without a screen, driven through its DevTools protocol: what tests of the web page look and touch with.

It waits for what must come to hold in the page, never for a time; `PATIENCE_S` only bounds how long a failure takes.
"""

import base64
import contextlib
import itertools
import json
import os
import subprocess
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from server.system.clock import now_ns
from support.serving import PATIENCE_S

DESKTOP, PHONE = (1280, 800), (390, 844)
_FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
)
_WAIT = """new Promise((resolve, reject) => {
  const end = performance.now() + %d;
  (function look() {
    let value;
    try { value = %s; } catch { value = false; }
    if (value) resolve(value);
    else if (performance.now() > end) reject(new Error("what is waited for does not come"));
    else setTimeout(look, 10);
  })();
})"""


class Browser:
    """`with Browser(program, folder) as browser:` has a Chromium of its own, and ends it."""

    def __init__(self, program: str, folder: Path) -> None:
        flags = [*_FLAGS, f"--user-data-dir={folder}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # It refuses to be root's otherwise, as it is in a container.
        log = (folder / "chromium.log").open("wb")
        self.process = subprocess.Popen(
            [program, *flags, "about:blank"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.PIPE
        )
        log.close()
        self._endpoint = self._read_endpoint()
        self._sockets = contextlib.ExitStack()
        self._speaker = BrowserPage(self._connect(f"ws://{self._endpoint}"))
        self._context = ""

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._sockets.close()
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def close_pages(self) -> None:
        """Close every page that was opened, and forget what they stored."""
        if self._context:
            self._speaker.ask("Target.disposeBrowserContext", browserContextId=self._context)
            self._context = ""

    def _connect(self, url: str) -> ClientConnection:
        link = connect(url, max_size=None, open_timeout=PATIENCE_S, ping_interval=None)
        return self._sockets.enter_context(link)

    def _read_endpoint(self) -> str:
        """HOST:PORT/PATH of its DevTools, which it says on standard error."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if b"DevTools listening on ws://" in line:
                return line.decode().partition("ws://")[2].strip()
        raise AssertionError(f"Chromium ended with {self.process.wait()} and no DevTools")

    def open(
        self, url: str, size: tuple[int, int] = DESKTOP, *, touch: bool = False, light: bool = False
    ) -> "BrowserPage":
        """A new page that shows `url`."""
        if not self._context:
            self._context = self._speaker.ask("Target.createBrowserContext")["browserContextId"]
        # In a window of its own: a page behind another is not drawn.
        wanted = {"url": "about:blank", "newWindow": True, "browserContextId": self._context}
        target = self._speaker.ask("Target.createTarget", **wanted)["targetId"]
        host = self._endpoint.partition("/")[0]
        page = BrowserPage(self._connect(f"ws://{host}/devtools/page/{target}"))
        page.prepare(size, touch=touch, light=light)
        page.go(url)
        return page


class BrowserPage:
    """One page, or the browser itself: what it holds, what it complained of, and a mouse, fingers and keys on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """Exceptions and what went to the console as warning or error, what the network refused among it."""

    def prepare(self, size: tuple[int, int], *, touch: bool, light: bool) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=2 if touch else 1,
            mobile=touch,
        )
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch, maxTouchPoints=5 if touch else 1)
        scheme = {"name": "prefers-color-scheme", "value": "light" if light else "dark"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setFocusEmulationEnabled", enabled=True)

    def ask(self, method: str, **parameters: object) -> dict:
        """One command of the DevTools protocol. Returns its result."""
        number = next(self._numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        deadline_ns = now_ns() + 2 * PATIENCE_S * 1_000_000_000
        while True:
            message = json.loads(self.socket.recv(max(0.0, (deadline_ns - now_ns()) / 1e9)))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        of = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(of["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and of["entry"]["level"] in ("warning", "error"):
            self.complaints.append(of["entry"]["text"] + " " + of["entry"].get("url", ""))
        elif message["method"] == "Runtime.consoleAPICalled" and of["type"] in ("warning", "error", "assert"):
            self.complaints.append(json.dumps(of["args"]))

    def go(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str):
        """The value of an expression in the page; of a promise, what it comes to."""
        result = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def wait_for(self, condition: str):
        """Wait until an expression holds in the page. Returns its value."""
        return self.evaluate(_WAIT % (PATIENCE_S * 1000, condition))

    def text(self, name: str) -> str:
        return self.evaluate(f"document.getElementById({name!r}).textContent")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    # A hand.

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """`kind`: mousePressed, mouseMoved, mouseReleased or mouseWheel."""
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, *points: tuple[float, float], button: str = "left", modifiers: int = 0) -> None:
        """Press at the first point, go on to the others, release at the last."""
        held = {"button": button, "buttons": {"left": 1, "right": 2, "middle": 4}[button], "modifiers": modifiers}
        self.mouse("mouseMoved", *points[0], modifiers=modifiers)
        self.mouse("mousePressed", *points[0], clickCount=1, **held)
        for point in points[1:]:
            self.mouse("mouseMoved", *point, **held)
        self.mouse("mouseReleased", *points[-1], clickCount=1, **held)

    def fingers(self, *steps: list[tuple[float, float]]) -> None:
        """Each step says where the fingers are; a finger more or fewer is one put down or lifted. All lift at last."""
        count = 0
        for step in steps:
            kind = "touchMove" if len(step) == count else "touchStart" if len(step) > count else "touchEnd"
            points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(step)]
            self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
            count = len(step)
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key: str, *, shift: bool = False) -> None:
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        of = {"key": key, "modifiers": 8 if shift else 0}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **of, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **of)
