"""A server with a token: what each client may do, and that no answer repeats the token."""

import msgspec
import pytest

from server.config import ServerConfig
from server.protocol.events import Request
from server.protocol.http import Headers, RequestHead
from server.protocol.messages import Place, PlaceMany, Snapshot, Subscribe, Throttled
from server.web import dispatch
from server.wire import SUBPROTOCOL, DropReason
from support.serving import Client, Serving
from workbench.address import Address, parse_url
from workbench.cli.app import run_main
from workbench.errors import UserError
from workbench.run import show as run_command
from workbench.scenarios.scenario import Scenario, scenario_text

TOKEN = "correct-horse_7.~"
WRONG = "correct-horse_7.!"
BESIDE = (SUBPROTOCOL, dispatch.TOKEN_SUBPROTOCOL + TOKEN)
BRINGING = [
    {"path": f"/canvas?token={TOKEN}"},
    {"path": f"/canvas?a=b&token={WRONG}&token={TOKEN.replace('~', '%7E')}"},
    {"headers": (("Authorization", f"Bearer {TOKEN}"),)},
    {"headers": (("authorization", f"bearer  {TOKEN}"),)},
    {"subprotocols": BESIDE},
]
LACKING = [
    {},
    {"path": "/canvas?token="},
    {"path": f"/canvas?token={TOKEN}x"},
    {"path": f"/canvas?Token={TOKEN}"},
    {"path": "/canvas?token=%ff%c3"},
    {"headers": (("Authorization", f"Basic {TOKEN}"),)},
    {"headers": (("Authorization", TOKEN),)},
    {"headers": (("Authorization", "Bearer \xe9"),)},
    {"subprotocols": (SUBPROTOCOL, TOKEN)},
    {"subprotocols": (dispatch.TOKEN_SUBPROTOCOL + WRONG,)},
]

WRONGLY = [
    {"path": f"/canvas?token={WRONG}"},
    {"path": "/canvas?token="},
    {"headers": (("Authorization", f"Bearer {WRONG}"),)},
    {"subprotocols": (SUBPROTOCOL, dispatch.TOKEN_SUBPROTOCOL + WRONG)},
]


@pytest.fixture(scope="module", params=["native", "portable", "mailbox"])
def serving(request):
    with Serving(loop=request.param, token=TOKEN) as serving:
        yield serving


@pytest.fixture(scope="module", params=["native", "portable", "mailbox"])
def open_to_viewers(request):
    with Serving(loop=request.param, token=TOKEN, viewers_only_without_token=True, echo=True) as serving:
        yield serving


def answer(serving, target, *fields):
    """What a plain GET is answered."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    with Client(serving.port) as client:
        client.send_raw(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode("latin-1"))
        return client.ended().decode("latin-1")


@pytest.mark.parametrize("options", BRINGING)
def test_who_brings_it_is_let_in(serving, options):
    with serving.client(**options) as client:
        client.ping()


@pytest.mark.parametrize("options", LACKING)
def test_who_does_not_is_told_how(serving, options):
    with Client(serving.port, **options) as client:
        head = client.upgrade()
        body = client.ended().decode()
    assert head.startswith("HTTP/1.1 401 ") and 'WWW-Authenticate: Bearer realm="pixelcanvas"' in head
    assert "?token=TOKEN" in body and dispatch.TOKEN_SUBPROTOCOL in body
    assert TOKEN not in head + body


def test_the_sub_protocol_that_is_spoken_is_chosen(serving):
    with Client(serving.port, subprotocols=reversed(BESIDE)) as client:
        head = client.open()
    assert f"Sec-WebSocket-Protocol: {SUBPROTOCOL}" in head and TOKEN not in head


@pytest.mark.parametrize("path", ["/", "/palette.json", "/healthz", "/static/page.css"])
def test_what_is_shipped_needs_none(serving, path):
    assert not answer(serving, path).startswith("HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/canvas.png", "/metrics", "/nothing", "/canvas%2epng", "/static"])
def test_all_else_does(serving, path):
    assert answer(serving, path).startswith("HTTP/1.1 401 ")
    assert not answer(serving, f"{path}?token={TOKEN}").startswith("HTTP/1.1 401 ")
    assert not answer(serving, path, ("Authorization", f"Bearer {TOKEN}")).startswith("HTTP/1.1 401 ")


def test_every_token_is_compared_in_constant_time(monkeypatch):
    """None is skipped, also after the right one, and none is compared by other means."""
    compared = []
    monkeypatch.setattr(dispatch.hmac, "compare_digest", lambda one, other: compared.append(one) or False)
    head = RequestHead("GET", f"/canvas?token={TOKEN}&token=b", Headers((("Authorization", "Bearer c"),)))
    assert not dispatch.is_authorized(Request(head, is_upgrade=True, subprotocols=BESIDE), TOKEN)
    assert compared == [TOKEN.encode(), b"b", b"c", TOKEN.encode()]


def test_without_one_everybody_is_let_in():
    request = Request(RequestHead("GET", "/metrics", Headers(())), is_upgrade=False)
    assert dispatch.is_authorized(request, "")
    assert not dispatch.is_authorized(request, TOKEN)


@pytest.mark.parametrize("token", ["short", "x" * 129, "with space", "naïve-token", "half?&=token"])
def test_what_cannot_be_a_token_is_refused_unsaid(token):
    with pytest.raises(ValueError, match=f"token has {len(token)} characters") as caught:
        ServerConfig(token=token)
    assert token not in str(caught.value)


def test_addresses_carry_it_and_do_not_show_it():
    address = Address("127.0.0.1", 9, token=TOKEN)
    assert (address.url, address.target) == ("ws://127.0.0.1:9/canvas", f"/canvas?token={TOKEN}")
    assert address.page_url == f"http://127.0.0.1:9/?token={TOKEN}"
    assert parse_url(f"ws://127.0.0.1:9/canvas?token={TOKEN}") == address
    assert parse_url(f"ws://a:9/b?c=d&token={TOKEN}&e").target == f"/b?c=d&e&token={TOKEN}"
    assert TOKEN not in repr(address)


def test_a_server_without_one_or_that_lets_others_read_it_is_warned_of():
    assert "OPEN TO THE NETWORK" in Address("0.0.0.0", 9).warning
    assert Address("0.0.0.0", 9, token=TOKEN).warning.startswith("NOT ENCRYPTED: ")
    assert TOKEN not in Address("0.0.0.0", 9, token=TOKEN).warning
    assert not Address("0.0.0.0", 9, token=TOKEN, certificate="cert.pem").warning
    assert "https://" in Address("0.0.0.0", 9, certificate="cert.pem").warning


def test_the_scheme_tells_whether_it_is_encrypted():
    address = Address("::1", 9, certificate="cert.pem")
    assert (address.url, address.page_url) == ("wss://[::1]:9/canvas", "https://[::1]:9/")


def test_a_scenario_that_is_kept_does_not_hold_it():
    scenario = Scenario(name="x", server=ServerConfig(token=TOKEN, echo=True))
    text = scenario_text(scenario)
    assert TOKEN not in text and "echo = true" in text
    assert msgspec.structs.replace(scenario.server, token="") == ServerConfig(echo=True)


def test_run_and_fleet_take_it_from_the_environment(monkeypatch):
    taken = []

    def note(scenario, _outputs, address=None, **_):
        taken.append(scenario.server.token if address is None else address.token)
        return 0

    monkeypatch.setattr(run_command, "run_scenario", note)
    monkeypatch.setenv("PIXELCANVAS_TOKEN", TOKEN)
    for words in ([], ["run", "crowd"], ["fleet", "ws://127.0.0.1:9/canvas"]):
        assert run_main(words) == 0
    assert run_main(["fleet", "ws://127.0.0.1:9/canvas?token=another-one"]) == 0
    assert run_main(["run", "--set", "server.token=another-one", "crowd"]) == 0
    assert taken == [TOKEN, TOKEN, TOKEN, "another-one", "another-one"]


def test_the_web_page_passes_it_on(serving, browser):
    page = browser.open(Address("127.0.0.1", serving.port, token=TOKEN).page_url)
    page.wait_for("document.documentElement.dataset.state === 'open'")
    assert not page.complaints


@pytest.mark.parametrize("start", ["wss://a:9", "ws://a", "http://a:9", "ws://a:x"])
def test_a_wrong_address_is_told_without_it(start):
    with pytest.raises(UserError) as caught:
        parse_url(f"{start}/canvas?token={TOKEN}")
    assert start in str(caught.value) and TOKEN not in str(caught.value)


class TestViewersWithoutToken:
    def test_one_sees_what_another_paints_and_paints_nothing(self, open_to_viewers):
        with open_to_viewers.client() as viewer, open_to_viewers.client(path=f"/canvas?token={TOKEN}") as painter:
            assert (viewer.hello.rate_per_s, viewer.hello.burst) == (0, 0)
            assert (painter.hello.rate_per_s, painter.hello.burst) == (60, 120)
            viewer.send(Subscribe(0, 0, 0, 0))
            viewer.until(Snapshot)
            viewer.send(Place(5, 5, 7), PlaceMany(((6, 6, 7),) * 9), Place(500, 5, 7))
            viewer.ping()
            painter.send(Place(8, 8, 9))
            while viewer.pixels[8, 8] != 9:
                viewer.message()
            assert open_to_viewers.pixels[5, 5] == open_to_viewers.pixels[6, 6] == 0
            report = next((seen for seen in viewer.seen if isinstance(seen, Throttled)), None) or viewer.until(
                Throttled
            )
            assert (report.reason, report.retry_ms) == (DropReason.RATE, 65_535)
            assert report.dropped == 11

    def test_no_change_of_the_limits_gives_it_tokens(self, open_to_viewers):
        serving = open_to_viewers
        with serving.client() as viewer:
            rates = iter((900, 60))
            for rate in rates:
                serving.server.adjust(msgspec.structs.replace(serving.config, rate_per_s=rate))
                viewer.serve_until(lambda rate=rate: self.told_rate(serving) == rate)
                viewer.send(Place(3, 3, 7))
                viewer.ping()
                assert serving.pixels[3, 3] == 0

    def told_rate(self, serving):
        with serving.client(path=f"/canvas?token={TOKEN}") as newcomer:
            return newcomer.hello.rate_per_s

    @pytest.mark.parametrize("options", WRONGLY)
    def test_a_wrong_token_is_none_at_all(self, open_to_viewers, options):
        with Client(open_to_viewers.port, **options) as client:
            assert client.upgrade().startswith("HTTP/1.1 401 ")

    def test_what_is_seen_besides_the_canvas(self, open_to_viewers):
        assert answer(open_to_viewers, "/canvas.png").startswith("HTTP/1.1 200 ")
        assert answer(open_to_viewers, f"/canvas.png?token={WRONG}").startswith("HTTP/1.1 401 ")
        assert answer(open_to_viewers, "/metrics").startswith("HTTP/1.1 401 ")
        with Client(open_to_viewers.port, "/echo") as client:
            assert client.upgrade().startswith("HTTP/1.1 401 ")

    def test_there_is_a_token_to_be_without(self):
        with pytest.raises(ValueError, match="viewers_only_without_token is true, but token is not set"):
            ServerConfig(viewers_only_without_token=True)

    def test_a_kept_scenario_can_be_read_again(self):
        scenario = Scenario(name="x", server=ServerConfig(token=TOKEN, viewers_only_without_token=True, echo=True))
        kept = msgspec.toml.decode(scenario_text(scenario), type=Scenario)
        assert kept.server == ServerConfig(echo=True)

    def test_the_page_says_so_and_takes_a_token(self, open_to_viewers, browser):
        page = browser.open(Address("127.0.0.1", open_to_viewers.port).page_url)
        page.wait_for("document.documentElement.dataset.state === 'open'")
        assert page.text("state") == "live, looking on"
        page.evaluate("element('token').focus()")
        for letter in "hmc":
            page.key(letter)
        assert page.evaluate("[element('help').open, hand.isMoving, element('all').hidden]") == [False, False, True]
        assert not page.complaints
        page.evaluate(f"element('token').value = '{WRONG.replace('!', 'x')}'")
        page.evaluate("element('entry').requestSubmit()")
        page.wait_for("element('notice').textContent === 'that is not the token of this canvas'")
        page.evaluate(f"element('token').value = '{TOKEN}'")
        page.evaluate("element('entry').requestSubmit()")
        page.wait_for("document.documentElement.dataset.role === 'painter' && element('entry').hidden")


def test_the_page_asks_for_a_token_where_none_is_let_in_without(serving, browser):
    page = browser.open(Address("127.0.0.1", serving.port).page_url)
    page.wait_for("document.documentElement.dataset.role === 'stranger'")
    assert page.text("role") == "This canvas wants its token:"
