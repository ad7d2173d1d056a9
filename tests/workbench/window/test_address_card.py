"""The address card: its QR code holds the address, and a note says who can connect."""

import numpy as np
import pytest
import segno

from support.window_stage import FakeSession, headless, heat_map, note_writing, rgb, words
from workbench.address import Address, network_host
from workbench.window.overview.cards import ONLY_HERE, OPEN_TO_ALL, QUIET_MODULES, draw_code
from workbench.window.toolkit.display import offscreen
from workbench.window.toolkit.keys import Action

URL = "http://192.168.1.20:43121/"


@pytest.mark.parametrize("url", [URL, "http://[fd00::1]:8765/?token=" + "x" * 60])
@pytest.mark.parametrize("side", [300, 211])
def test_the_qr_code_holds_the_address_with_a_light_margin(url: str, side: int) -> None:
    target = offscreen((side, side))
    target.fill((90, 0, 0))
    draw_code(target, target.get_rect(), url)
    modules = np.array([list(row) for row in segno.make(url, error="m", micro=False).matrix])
    count = len(modules) + 2 * QUIET_MODULES
    size = side // count
    picture = rgb(target)
    left = (side - count * size) // 2
    drawn = picture[left + size // 2 : left + count * size : size, left + size // 2 : left + count * size : size]
    expected = np.pad(modules, QUIET_MODULES)
    assert np.array_equal(drawn, np.where(expected[..., None], 0, 255) * np.ones(3, int))


@pytest.mark.parametrize(("is_open", "note"), [(False, ONLY_HERE), (True, OPEN_TO_ALL)])
def test_a_key_shows_the_card_and_who_can_connect(monkeypatch: pytest.MonkeyPatch, is_open: bool, note: str) -> None:
    session = FakeSession(heat_map(64, 64), page_url=URL, is_open_to_network=is_open)
    window = headless(session)
    before = rgb(window.draw())
    written = note_writing(monkeypatch)
    window.press(Action.ADDRESS, 0)
    assert not np.array_equal(rgb(window.draw()), before)
    said = words(written)
    assert URL in said
    assert note in said.replace("\n", " ")
    assert all(entry.whole for entry in written if entry.text == URL or entry.text in note)
    window.press(Action.QUIT, 0)
    assert not window.closed
    assert np.array_equal(rgb(window.draw()), before)


@pytest.mark.parametrize("size", [(1280, 720), (1600, 1000), (3840, 2160)])
@pytest.mark.parametrize("url", ["", URL])
def test_the_card_fits_into_the_window(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], url: str) -> None:
    window = headless(FakeSession(heat_map(64, 64), page_url=url), size)
    window.press(Action.ADDRESS, 0)
    written = note_writing(monkeypatch)
    picture = window.draw()
    card = [entry for entry in written if entry.text]
    assert card
    assert all(picture.get_rect().contains(entry.letters) for entry in card)


def test_a_server_open_to_the_network_is_marked_without_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    written = note_writing(monkeypatch)
    headless(FakeSession(heat_map(64, 64), page_url=URL, is_open_to_network=True))
    assert "open to the network" in words(written)


class TestAddress:
    @pytest.mark.parametrize(
        ("host", "url", "is_open"),
        [
            ("127.0.0.1", "http://127.0.0.1:8765/", False),
            ("127.0.0.9", "http://127.0.0.9:8765/", False),
            ("localhost", "http://localhost:8765/", False),
            ("::1", "http://[::1]:8765/", False),
            ("192.168.1.20", "http://192.168.1.20:8765/", True),
            ("fd00::1", "http://[fd00::1]:8765/", True),
        ],
    )
    def test_page_url_and_reach_by_listen_address(self, host: str, url: str, is_open: bool) -> None:
        address = Address(host, 8765)
        assert (address.page_url, address.is_open_to_network) == (url, is_open)
        assert (url in address.warning) is is_open

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
    def test_any_address_is_shown_as_the_network_address(self, host: str) -> None:
        address = Address(host, 8765)
        assert address.page_url == f"http://{network_host()}:8765/"
        assert address.is_open_to_network
