"""The web page in a real browser: what it shows is the server's canvas, and what a hand does on it gets there."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from server.palette import PALETTE, hex_colors
from server.protocol.messages import Place, PlaceMany
from support.braking import wait_until
from support.browser import PHONE, Browser, BrowserPage
from support.serving import Serving

IS_LIVE = (
    "document.documentElement.dataset.state === 'open' && palette.length === 256 && "
    "(box => view.surface.width === Math.round(box.width * view.density) && "
    "view.surface.height === Math.round(box.height * view.density))(view.surface.getBoundingClientRect())"
)
"""It shows the canvas, and has measured its room since the colours took theirs: pixels stay where they are."""
COUNT_INFLATED = """
globalThis.inflated = 0;
const Inflater = DecompressionStream;
DecompressionStream = class extends Inflater { constructor(format) { super(format); inflated++; } };
0"""
PAGE_BYTES = 60_000
"""All that a first visit loads: quick on a slow network, whatever a busy machine makes of it here."""
HEAD_BYTES = 1000
"""Less than any of the page's files, and more than an answer that says it is still the same."""
HOLD_TIME = """(() => {
  const draw = globalThis.letTimeGo = requestAnimationFrame, at = performance.now();
  requestAnimationFrame = redraw => draw(() => redraw(at));
})()"""
"""From now on it is the same moment for all that is drawn and sent, until `requestAnimationFrame = letTimeGo`."""


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """A canvas with tiles that its edges cut, and a bucket that these tests do not empty."""
    with Serving(width=70, height=45, rate_per_s=1000, burst=2000) as serving:
        yield serving


def live(browser: Browser, serving: Serving, **options: object) -> BrowserPage:
    page = browser.open(f"http://127.0.0.1:{serving.port}/", **options)
    page.wait_for(IS_LIVE)
    return page


def middle(page: BrowserPage, x: int, y: int) -> tuple[float, float]:
    """Where the middle of a canvas pixel is on the page."""
    at = "view.surface.getBoundingClientRect()"
    point = f"[{at}.left + (view.x + ({x} + .5) * view.scale) / view.density,"
    point += f" {at}.top + (view.y + ({y} + .5) * view.scale) / view.density]"
    left, top = page.evaluate(point)
    return left, top


def held(page: BrowserPage) -> np.ndarray:
    """The canvas as the page holds it, shape (height, width), uint8."""
    height, width, pixels = page.evaluate("[board.height, board.width, [...board.pixels]]")
    return np.array(pixels, np.uint8).reshape(-1, -(-width // 32) * 32)[:height, :width]


def seen_color(x: int, y: int) -> str:
    """An expression: red, green and blue of what is drawn within a pixel."""
    pen = "Object.assign(document.createElement('canvas'), {width: 1, height: 1})"
    pen += ".getContext('2d', {willReadFrequently: true})"
    point = f"view.x + ({x} + .3) * view.scale, view.y + ({y} + .3) * view.scale"
    copy = f"pen.drawImage(view.surface, {point}, 1, 1, 0, 0, 1, 1)"
    return f"(pen => ({copy}, String([...pen.getImageData(0, 0, 1, 1).data].slice(0, 3))))({pen})"


def shows(x: int, y: int, color: int) -> str:
    """A condition: the page has this pixel in this colour, and draws it so."""
    drawn = ",".join(str(part) for part in PALETTE[color].tolist())
    return f"board.at({x}, {y}) === {color} && !hand.pending.size && {seen_color(x, y)} === '{drawn}'"


def test_two_pages_see_each_others_pixels(browser: Browser, serving: Serving) -> None:
    first, second = live(browser, serving), live(browser, serving)
    first.evaluate("hand.choose(6)")
    first.drag(middle(first, 3, 4))
    second.wait_for(shows(3, 4, 6))
    second.drag(middle(second, 69, 44))
    first.wait_for(shows(69, 44, 4))
    assert serving.pixels[4, 3] == 6
    assert serving.pixels[44, 69] == 4
    assert first.complaints == second.complaints == []


def test_a_quick_drag_leaves_no_gaps(browser: Browser, serving: Serving) -> None:
    page = live(browser, serving)
    page.evaluate("hand.choose(7)")
    page.drag(middle(page, 10, 20), middle(page, 40, 20), middle(page, 40, 30))
    page.wait_for(f"{shows(40, 30, 7)} && {shows(25, 20, 7)}")
    assert (serving.pixels[20, 10:41] == 7).all()
    assert (serving.pixels[20:31, 40] == 7).all()


@pytest.mark.parametrize(
    ("per_tile", "kind"), [(5, "sparse"), (200, "a bitmap"), (1024, "full")], ids=["sparse", "bitmap", "full"]
)
def test_every_kind_of_block_is_read(browser: Browser, serving: Serving, per_tile: int, kind: str) -> None:
    page, lots = live(browser, serving), np.random.default_rng(per_tile)
    with serving.client() as painter:
        for top, left in itertools.product((0, 32), (0, 32, 64)):
            places = [(x, y) for y in range(top, min(top + 32, 45)) for x in range(left, min(left + 32, 70))]
            chosen = [places[index] for index in lots.permutation(len(places))[:per_tile]]
            painter.send(PlaceMany(tuple((x, y, int(lots.integers(256))) for x, y in chosen)))
        painter.ping()
        page.wait_for(same_as(serving))
    assert np.array_equal(held(page), serving.pixels), kind


def same_as(serving: Serving) -> str:
    """A condition: the page holds the canvas as the server has it now."""
    rows = ",".join(str(value) for value in serving.pixels.ravel().tolist())
    return f"[{rows}].every((color, at) => board.at(at % board.width, Math.floor(at / board.width)) === color)"


def test_a_compressed_snapshot_and_compressed_deltas_keep_their_order(browser: Browser) -> None:
    with Serving(width=320, height=256, burst=60_000, rate_per_s=60_000) as serving, serving.client() as painter:
        page = live(browser, serving)
        page.evaluate(COUNT_INFLATED)
        for color in range(1, 15):
            painter.send(PlaceMany(tuple((at % 320, at // 320, color) for at in range(4096))))
            painter.ping()
        page.wait_for(same_as(serving))
        assert (held(page)[:12] == 14).all()
        assert page.evaluate("inflated") > 0
        again = live(browser, serving)
        again.wait_for(same_as(serving))
        assert page.complaints == again.complaints == []


def test_wheel_keys_and_buttons_zoom_about_their_place(browser: Browser, serving: Serving) -> None:
    page = live(browser, serving)
    fitted = page.evaluate("view.scale")
    place = middle(page, 50, 30)
    page.mouse("mouseMoved", *place)
    page.mouse("mouseWheel", *place, deltaX=0, deltaY=-600)
    page.wait_for(f"view.scale > 2 * {fitted}")
    # A place is rounded to whole device pixels, so half a one may be between.
    assert np.allclose(middle(page, 50, 30), place, atol=1)
    page.key("0")
    page.wait_for(f"view.scale === {fitted}")
    page.key("+")
    page.wait_for(f"view.scale > {fitted}")
    page.evaluate("element('farther').click()")
    page.wait_for(f"Math.abs(view.scale - {fitted}) < 1e-6")


def test_a_right_drag_looks_around_and_paints_nothing(browser: Browser, serving: Serving) -> None:
    page = live(browser, serving)
    page.evaluate("view.zoom(6)")
    before, received = page.evaluate("[view.x, view.y]"), serving.counted("received_count")
    page.drag((600, 400), (640, 370), button="right")
    page.wait_for(f"view.x === {before[0] + 40} && view.y === {before[1] - 30}")
    page.key("m")
    page.drag((600, 400), (590, 400))
    page.wait_for(f"view.x === {before[0] + 30}")
    assert page.evaluate("hand.waiting.length + hand.pending.size") == 0
    assert serving.counted("received_count") == received


def test_keys_alone_suffice_to_paint(browser: Browser, serving: Serving) -> None:
    page = live(browser, serving)
    page.evaluate("view.surface.focus()")
    page.key("]")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft", "Enter"):
        page.key(key)
    page.wait_for(shows(34, 23, 5))
    assert serving.pixels[23, 34] == 5
    page.wait_for("element('where').textContent === 'x 34  y 23'")


class TestFingers:
    def test_one_paints_and_two_pinch(self, browser: Browser, serving: Serving) -> None:
        page = live(browser, serving, size=PHONE, touch=True)
        page.evaluate("hand.choose(9)")
        page.fingers([middle(page, 20, 40)])
        page.wait_for(shows(20, 40, 9))
        page.fingers([middle(page, 22, 40)], [middle(page, 30, 40)])
        page.wait_for(f"{shows(22, 40, 9)} && {shows(26, 40, 9)} && {shows(30, 40, 9)}")
        before, received = page.evaluate("view.scale"), serving.counted("received_count")
        page.fingers([(150, 400)], [(150, 400), (250, 400)], [(100, 400), (300, 400)])
        page.wait_for(f"Math.abs(view.scale / {before} - 2) < 0.1")
        assert page.evaluate("hand.waiting.length + hand.pending.size") == 0
        assert serving.counted("received_count") == received

    def test_a_phone_has_everything_in_sight(self, browser: Browser, serving: Serving) -> None:
        page = live(browser, serving, size=PHONE, touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        assert page.evaluate("document.documentElement.scrollHeight") <= PHONE[1]
        beyond = page.evaluate(
            "[...document.querySelectorAll('header *, footer *, canvas, #zoom *')]"
            ".filter(part => part.getClientRects().length)"
            f".filter(part => {{ const box = part.getBoundingClientRect(); return box.right > {PHONE[0]} + 1 ||"
            f" box.bottom > {PHONE[1]} + 1 || box.left < 0; }}).map(part => part.outerHTML)"
        )
        assert beyond == []
        small = page.evaluate(
            "[...document.querySelectorAll('header button, footer button, #zoom button')]"
            ".filter(button => button.getClientRects().length && button.getBoundingClientRect().height < 30).length"
        )
        assert small == 0


def let_all_in(serving: Serving) -> None:
    """From now on the server drops nothing; open pages keep to the limits of their HELLO. Otherwise placements that are
    delayed on the way would come too fast."""
    serving.server.adjust(msgspec.structs.replace(serving.config, rate_per_s=65_535, burst=65_535))

    def is_told() -> bool:
        with serving.client() as newcomer:
            return newcomer.hello.burst == 65_535

    wait_until(is_told)


class TestBucket:
    def test_more_than_the_bucket_holds_waits_its_turn(self, browser: Browser) -> None:
        with Serving(rate_per_s=50, burst=10) as serving:
            page = live(browser, serving)
            let_all_in(serving)
            assert page.evaluate("element('tokens').getAttribute('aria-valuemax')") == "8"
            page.evaluate("hand.choose(8)")
            page.evaluate(HOLD_TIME)
            page.drag(middle(page, 5, 5), middle(page, 35, 5))
            page.wait_for("hand.waiting.length === 23 && element('count').textContent === '\\u221223'")
            page.evaluate("requestAnimationFrame = letTimeGo; 0")
            page.wait_for("hand.waiting.length === 0 && !hand.pending.size")
            assert (serving.pixels[5, 5:36] == 8).all()
            page.wait_for("element('tokens').getAttribute('aria-valuenow') === '8'")

    def test_what_the_server_drops_is_told_and_empties_the_ring(self, browser: Browser) -> None:
        with Serving(rate_per_s=1, burst=10) as serving:
            page = live(browser, serving)
            # As if the HELLO of this page had a larger bucket than the server's.
            page.evaluate("bucket.fullAt = 0; bucket.burst = 1000; bucket.tokenMs = 1; hand.choose(8)")
            page.drag(middle(page, 5, 5), middle(page, 35, 5))
            # A slow drag finds a token more in the bucket: what the server counted is what the page must tell.
            wait_until(lambda: serving.counted("received_count") == 31)
            dropped = serving.counted("throttled_count")
            assert 0 < dropped <= 21
            notice = f"{dropped} of your pixels were dropped: faster than the rate limit"
            page.wait_for(f"element('notice').textContent === {notice!r}")


def test_it_comes_back_when_the_server_does(browser: Browser) -> None:
    with Serving() as serving:
        page, port = live(browser, serving), serving.port
        with serving.client() as painter:
            painter.send(Place(11, 12, 13))
            painter.ping()
        page.wait_for("board.at(11, 12) === 13")
    page.wait_for(
        "document.documentElement.dataset.state === 'lost' && element('state').textContent.includes('again in')"
    )
    page.evaluate("hand.choose(3)")
    page.drag(middle(page, 1, 1))
    page.wait_for("element('notice').textContent === 'not connected: nothing is painted'")
    with Serving(port=port) as serving:
        page.wait_for(f"{IS_LIVE} && board.at(11, 12) === 0")
        page.drag(middle(page, 2, 2))
        page.wait_for(shows(2, 2, 3))
        assert serving.pixels[2, 2] == 3


def test_only_a_question_without_an_answer_is_taken_for_the_end(browser: Browser, serving: Serving) -> None:
    page = live(browser, serving)
    state = "document.documentElement.dataset.state"
    long_silent = "wire.heard = performance.now() - 60000, wire.asked = wire.heard - 20"
    assert page.evaluate(f"({long_silent}, wire.probe(), {state})") == "open"
    page.wait_for("wire.heard > wire.asked")
    unanswered = "wire.asked = performance.now() - SILENCE_MS, wire.heard = wire.asked - 1"
    assert page.evaluate(f"({unanswered}, wire.probe(), {state})") == "lost"
    page.wait_for(IS_LIVE)


def test_a_first_visit_loads_little_and_a_second_one_nothing_anew(browser: Browser, serving: Serving) -> None:
    page = live(browser, serving)
    page.wait_for("performance.getEntriesByType('paint').length > 0")
    sizes = page.evaluate(
        "['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))"
        ".map(entry => [entry.name, entry.encodedBodySize])"
    )
    assert 0 < sum(size for _, size in sizes) < PAGE_BYTES, sizes
    assert all(name.startswith(f"http://127.0.0.1:{serving.port}/") for name, _ in sizes), sizes
    page.go(f"http://127.0.0.1:{serving.port}/")
    page.wait_for(IS_LIVE)
    loaded = "performance.getEntriesByType('resource').filter(entry => /static/.test(entry.name))"
    assert page.evaluate(f"{loaded}.length") >= 2
    sizes = page.evaluate(f"{loaded}.map(entry => [entry.name, entry.transferSize])")
    assert [entry for entry in sizes if entry[1] >= HEAD_BYTES] == []
    assert page.complaints == []


def test_everything_to_press_has_a_name_and_colours_have_theirs(browser: Browser, serving: Serving) -> None:
    page = live(browser, serving)
    tree = page.ask("Accessibility.getFullAXTree")["nodes"]
    buttons = [node for node in tree if node.get("role", {}).get("value") in ("button", "link", "meter", "dialog")]
    assert len(buttons) > 20
    assert [node for node in buttons if not node.get("name", {}).get("value")] == []
    names = page.evaluate("[...document.querySelectorAll('#paints button')].map(button => button.title)")
    assert len(set(names)) == 16
    assert not set(names) & set(hex_colors())


@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
def test_it_is_as_light_or_dark_as_the_system(browser: Browser, serving: Serving, light: bool) -> None:
    page = live(browser, serving, light=light)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (min(ground) > 128) is light


def test_a_token_in_the_address_goes_on_to_the_server(browser: Browser, serving: Serving) -> None:
    page = browser.open(f"http://127.0.0.1:{serving.port}/?token=a%26b")
    page.wait_for(IS_LIVE)
    assert page.evaluate("wire.socket.url").endswith("/canvas?token=a%26b")


def test_a_screenshot_is_a_picture(browser: Browser, serving: Serving, tmp_path: Path) -> None:
    page = live(browser, serving)
    page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes()[:4] == b"\x89PNG"
