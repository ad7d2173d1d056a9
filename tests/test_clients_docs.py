"""The page for people who write clients: each client on it, run as it is printed, and each of its messages."""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.protocol.blocks import Block
from server.protocol.messages import Delta, decode_client_message, decode_server_message
from server.wire import ServerOp
from support.braking import wait_until
from support.browser import Browser
from support.page_rules import cells
from support.serving import PATIENCE_S, Serving
from workbench.bench.peers.servers import module_folders

PAGE = (Path(__file__).parents[1] / "docs" / "clients.md").read_text()
CLIENTS = dict(re.findall(r"^<!-- client: (\S+) -->\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
OF_CLIENTS = ("PLACE", "PLACE_MANY", "SUBSCRIBE", "PING")
LOOK = "String(document.querySelector('canvas').getContext('2d').getImageData(40, 20, 1, 1).data)"
CLICK = """(() => {
  const view = document.querySelector("canvas"), box = view.getBoundingClientRect();
  const cell = view.clientWidth / view.width;
  view.dispatchEvent(new MouseEvent("click", {clientX: box.left + 40.5 * cell, clientY: box.top + 20.5 * cell}));
})()"""


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """A canvas with tiles that its edges cut, which these clients paint on one after the other."""
    with Serving(width=70, height=45) as serving:
        yield serving


@pytest.fixture
def client(tmp_path: Path) -> Callable[[str], Path]:
    """`client(name)`: the file of that name as the page prints it."""

    def write(name: str) -> Path:
        path = tmp_path / name
        path.write_text(CLIENTS[name])
        return path

    return write


def run(*command: object, folder: Path, **environment: str) -> str:
    """What a client prints. It must end by itself, and well."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_client_of_the_page_is_run_here() -> None:
    """A client that is added there must get its test."""
    assert set(CLIENTS) == {"paint.py", "paint.js", "paint.html", "look.sh", "paint.sh", "paint_mqtt.sh"}


@pytest.mark.parametrize(("name", "text"), [(row[0], row[2]) for row in cells(PAGE, "messages")])
def test_bytes_of_the_table(name: str, text: str) -> None:
    data = bytes.fromhex(text.strip("`"))
    message = decode_client_message(data) if name in OF_CLIENTS else decode_server_message(data)
    assert type(message).__name__.upper() == name.replace("_", "")
    assert message.encode() == data


def test_python(serving: Serving, client: Callable[[str], Path]) -> None:
    path = client("paint.py")
    url = f"ws://127.0.0.1:{serving.port}/canvas"
    for x, y, color in ((69, 44, 5), (33, 2, 6)):
        printed = run(sys.executable, path, url, x, y, color, folder=path.parent)
        assert printed == f"a canvas of 70 x 45\ncolour {color} is at ({x}, {y})\n"
        assert serving.pixels[y, x] == color


def test_python_reads_all_kinds_of_blocks() -> None:
    """Its decoder alone, on each kind and on compressed blocks, for a live canvas need not make them all."""
    source = CLIENTS["paint.py"]
    scope: dict = {}
    exec("import struct, zlib\n" + source[source.index("def changes") : source.index("with connect")], scope)
    counts = (3, 400, 1024)
    blocks = tuple(
        Block(tile, tuple(range(count)), bytes(n % 251 for n in range(count))) for tile, count in enumerate(counts)
    )
    expected = [
        (block.tile, offset, color)
        for block in blocks
        for offset, color in zip(block.offsets, block.colors, strict=True)
    ]
    for compress in (False, True):
        assert list(scope["changes"](Delta(4, blocks).encode(compress=compress))) == expected


def test_node(serving: Serving, client: Callable[[str], Path], needs_program: Callable[[str, str], str]) -> None:
    node = needs_program("node", "apt-get install nodejs")
    folders = os.pathsep.join(map(str, module_folders()))
    if not any((folder / "ws").is_dir() for folder in module_folders()):
        needs_program("the package ws", "apt-get install node-ws")
    path = client("paint.js")
    url = f"ws://127.0.0.1:{serving.port}/canvas"
    for x, y, color in ((68, 43, 7), (1, 40, 8)):
        printed = run(node, path, url, x, y, color, folder=path.parent, NODE_PATH=folders)
        assert printed == f"a canvas of 70 x 45\ncolour {color} is at ({x}, {y})\n"
        assert serving.pixels[y, x] == color


def test_look(
    serving: Serving,
    client: Callable[[str], Path],
    needs_program: Callable[[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs_program("curl", "apt-get install curl")
    path = client("look.sh")
    # It is healthy, however late its ticks.
    monkeypatch.setattr("server.web.routes.TICK_SLACK_NS", PATIENCE_S * 1_000_000_000)
    wait_until(lambda: serving.tick > 0)
    printed = run("sh", "-e", path, folder=path.parent, PORT=str(serving.port))
    assert re.fullmatch(r"ok\npixelcanvas_ticks_total [0-9.e+]+\n", printed)
    assert (path.parent / "canvas.png").read_bytes().startswith(b"\x89PNG")
    assert (path.parent / "palette.json").read_text().startswith('["#')


def test_shell(serving: Serving, client: Callable[[str], Path], needs_program: Callable[[str, str], str]) -> None:
    bash = needs_program("bash", "apt-get install bash")
    path = client("paint.sh")
    run(bash, "-e", path, folder=path.parent, PORT=str(serving.port))
    head, _, frames = (path.parent / "answers.bin").read_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert frames[2] == ServerOp.HELLO
    assert bytes.fromhex("84000000 0700000000000000") in frames
    assert serving.pixels[20, 10] == 5


def test_mqtt(
    client: Callable[[str], Path], needs_broker: Callable[[str], str], needs_program: Callable[[str, str], str]
) -> None:
    needs_broker("mosquitto")
    needs_program("mosquitto_pub", "apt-get install mosquitto-clients")
    bash = needs_program("bash", "apt-get install bash")
    path = client("paint_mqtt.sh")
    with Serving(mqtt="embedded") as serving, serving.client() as witness:
        # The server tells its HELLO when it hears what is published, not before.
        info = f"{serving.server.broker_url}/canvas/main/info"
        run("mosquitto_sub", "-L", info, "-C", 1, "-N", folder=path.parent)
        run(bash, "-e", path, folder=path.parent, BROKER=serving.server.broker_url)
        witness.serve_until(lambda: serving.pixels[20, 11] == 6)
        assert serving.pixels[20, 10] == 5


@pytest.fixture
def pages(client: Callable[[str], Path]) -> Iterator[int]:
    """The page's folder, served as `python -m http.server` does. Gives the port."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Discard the log."""

    handler = functools.partial(Quiet, directory=client("paint.html").parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_page(pages: int, tmp_path: Path, browser: Browser, needs_program: Callable[[str, str], str]) -> None:
    needs_program("curl", "apt-get install curl")
    origin = f"http://127.0.0.1:{pages}"
    with Serving(width=64, height=64, origins=(origin,)) as serving:
        server = f"127.0.0.1:{serving.port}"
        run("curl", "-s", f"http://{server}/palette.json", "-o", "palette.json", folder=tmp_path)
        page = browser.open(f"{origin}/paint.html?server={server}")
        page.wait_for("document.title === 'watching'")
        before = page.evaluate(LOOK)
        page.evaluate(CLICK)
        page.wait_for(f"{LOOK} !== {before!r}")
        assert serving.pixels[20, 40] == 5
        # Only this test reads its pixels back, and gets a warning that names a faster way to do that.
        assert not [line for line in page.complaints if "willReadFrequently" not in line]
