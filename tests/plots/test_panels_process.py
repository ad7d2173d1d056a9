"""The panels' process: the two pages it reads and writes, its orders, and its end."""

import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from plots.__main__ import Orders, PictureRequest, Renderer
from plots.history import (
    MARKER,
    MARKER_ROWS,
    MARKERS_READ,
    SAMPLE,
    SAMPLE_INTERVAL_NS,
    SAMPLE_ROWS,
    SPARE_ROWS,
    HistoryReader,
    history_sections,
)
from plots.ipc import (
    PICTURE_SIDE_MAX,
    SIDE_MIN,
    Picture,
    Resize,
    ShowPanels,
    StartPanels,
    fitting_size,
    picture_sections,
)
from plots.panels import Panels
from plots.style import LIGHT
from plots.timeline import TimeSpan
from server.ipc import control
from server.ipc.page import Page
from workbench.telemetry.history import history_rings

ROOT = Path(__file__).parents[2]


def samples(count):
    """`count` samples of a steady load, ten per second."""
    rows = np.zeros(count, SAMPLE)
    rows["time_ns"] = 10**12 + np.arange(count) * SAMPLE_INTERVAL_NS
    rows["received_per_s"] = 400.0
    return rows


def end_of(rows):
    return int(rows["time_ns"][-1])


# --- The two pages


def filled(value, width=40, height=30):
    return np.full((height, width, 4), value, np.uint8)


def test_a_picture_comes_to_the_front_when_it_is_finished():
    page = Page.create(picture_sections())
    picture = Picture(page)
    assert picture.read(0) is None
    for serial, (value, width, height) in enumerate([(7, 40, 30), (8, 60, 20), (9, 16, 16)], start=1):
        before = int(page["front"][0])
        picture.show(filled(value, width, height))
        assert int(page["front"][0]) == 1 - before
        assert page["size"][1 - before].tolist() == [width, height]
        found, pixels = picture.read(serial - 1)
        assert found == serial == picture.serial
        np.testing.assert_array_equal(pixels, filled(value, width, height))
        assert picture.read(serial) is None
    page.close()


def test_a_reader_that_is_overtaken_gets_nothing_instead_of_a_mix(monkeypatch):
    page = Page.create(picture_sections())
    writer, reader = Picture(page), Picture(page)
    writer.show(filled(1))
    buffer_of = reader._buffer

    def overtaken(index, width, height):
        writer.show(filled(2))
        writer.show(filled(3))
        return buffer_of(index, width, height)

    monkeypatch.setattr(reader, "_buffer", overtaken)
    assert reader.read(0) is None
    monkeypatch.undo()
    np.testing.assert_array_equal(reader.read(0)[1], filled(3))
    page.close()


def test_a_reader_beside_a_writer_sees_whole_pictures_only():
    page = Page.create(picture_sections())
    writer, reader = Picture(page), Picture(page)
    thread = threading.Thread(target=lambda: [writer.show(filled(index % 251, 320, 200)) for index in range(400)])
    thread.start()
    serial = 0
    while serial < 400:
        seen = reader.read(serial)
        if seen is not None:
            serial, pixels = seen
            assert (pixels == (serial - 1) % 251).all()
        assert thread.is_alive() or writer.serial == 400
    thread.join()
    page.close()


def test_a_size_is_fitted_to_the_page():
    assert fitting_size(900, 800) == (900, 800)
    assert fitting_size(0, -3) == (SIDE_MIN, SIDE_MIN)
    assert fitting_size(10**6, 10**6) == PICTURE_SIDE_MAX


def test_history_is_read_in_order_across_the_end_of_the_ring():
    page = Page.create(history_sections())
    history = HistoryReader(page)
    assert len(history.between(0, 0, 10**9)) == len(history.markers(0)) == 0
    head = SAMPLE_ROWS + 100
    for number in range(head):
        page["samples"]["time_ns"][number % SAMPLE_ROWS] = number
    oldest = head - SAMPLE_ROWS + SPARE_ROWS
    assert history.between(head, 0, head)["time_ns"].tolist() == list(range(oldest, head))
    assert history.between(head, 6000, 6200)["time_ns"].tolist() == list(range(6000, 6201))
    assert (history.oldest_ns(head), history.newest_ns(head)) == (oldest, head - 1)
    page.close()


def test_rows_overwritten_while_they_are_read_are_detected():
    page = Page.create(history_sections())
    history, (ring, marked) = HistoryReader(page), history_rings(page)
    ring.append(samples(SAMPLE_ROWS))
    head = history.head
    assert history.holds(head, 0)
    ring.append(samples(SPARE_ROWS))
    assert history.holds(head, 0), "only rows that are left alone were written"
    page["begun"][0] += 1
    assert not history.holds(head, 0), "one more is being written"
    page["begun"][0] -= 1
    marked.append(np.zeros(MARKER_ROWS, MARKER))
    marker_head = history.marker_head
    assert history.holds(head, marker_head)
    marked.append(np.zeros(MARKER_ROWS - MARKERS_READ + 1, MARKER))
    assert not history.holds(head, marker_head)
    page.close()


def test_markers_are_read_in_order_across_the_end_of_the_ring():
    page = Page.create(history_sections())
    head = MARKER_ROWS + 7
    for number in range(1, head):
        page["markers"]["time_ns"][number % MARKER_ROWS] = number
    found = HistoryReader(page).markers(head)["time_ns"].tolist()
    assert found == list(range(found[0], head))
    assert 0 < len(found) < MARKER_ROWS
    page.close()


# --- The process


def look(width=320, height=240, **show):
    return PictureRequest(
        width, height, 1.0, ShowPanels(**{"names": ("throughput", "queues", "heat", "drops"), **show})
    )


@pytest.fixture
def pages():
    history, picture = Page.create(history_sections()), Page.create(picture_sections())
    yield history, picture
    history.close()
    picture.close()


def write(page, rows):
    """Append samples to the history."""
    head = int(page["head"][0])
    page["samples"][head : head + len(rows)] = rows
    page["head"][0] = head + len(rows)


def test_the_renderer_draws_only_what_is_new(pages):
    history_page, picture_page = pages
    picture = Picture(picture_page)
    artist = Renderer(HistoryReader(history_page), picture)
    assert [artist.draw(look()), artist.draw(look()), picture.serial] == [True, False, 1]
    rows = samples(50)
    write(history_page, rows)
    assert [artist.draw(look()), artist.draw(look()), picture.serial] == [True, False, 2]
    np.testing.assert_array_equal(picture.read(1)[1], Panels(320, 240).draw(rows, TimeSpan.live_at(end_of(rows))))
    history_page["marker_head"][0] = 1
    assert [artist.draw(look()), artist.draw(look())] == [True, False]
    assert artist.draw(look(400, 300))
    assert picture.read(3)[1].shape == (300, 400, 4)


def test_a_fixed_span_is_redrawn_only_for_its_labels(pages):
    history_page, picture_page = pages
    rows = samples(400)
    write(history_page, rows[:300])
    artist = Renderer(HistoryReader(history_page), Picture(picture_page))
    still = look(end_ns=int(rows["time_ns"][200]), span_s=15.0)
    assert artist.draw(still)
    first = Picture(picture_page).read(0)[1]
    write(history_page, rows[300:303])
    assert not artist.draw(still)
    write(history_page, rows[303:])
    assert artist.draw(still)
    panels = Panels(320, 240)
    plot = panels.panels[0].boxes.plot
    area = np.s_[plot.top : plot.bottom, plot.left : plot.right]
    np.testing.assert_array_equal(Picture(picture_page).read(1)[1][area], first[area])


def test_a_time_out_of_range_shows_the_oldest_or_newest_samples(pages):
    history_page, picture_page = pages
    rows = samples(100)
    write(history_page, rows)
    artist, picture = Renderer(HistoryReader(history_page), Picture(picture_page)), Picture(picture_page)
    for asked_ns, shown_ns in ((1, int(rows["time_ns"][0])), (end_of(rows) + 10**12, end_of(rows))):
        artist.draw(look(end_ns=asked_ns))
        span = TimeSpan.still_at(shown_ns, 60.0, end_of(rows))
        np.testing.assert_array_equal(picture.read(0)[1], Panels(320, 240).draw(rows, span))


def test_the_renderer_shows_the_chosen_panels_theme_and_note(pages):
    history_page, picture_page = pages
    artist, picture = Renderer(HistoryReader(history_page), Picture(picture_page)), Picture(picture_page)
    names = ("cost", "ledger", "fairness", "stages")
    artist.draw(look())
    artist.draw(look(names=names, theme="light", note="brushed: tiles 3,4 to 6,7"))
    expected = Panels(320, 240, 1.0, names, LIGHT, "brushed: tiles 3,4 to 6,7").draw(samples(0), TimeSpan.live_at(0))
    np.testing.assert_array_equal(picture.read(1)[1], expected)


def test_orders_keep_the_last_request_and_the_stop():
    orders = Orders(900, 800, 1.0)
    orders.take(Resize(1200, 700, 2.0))
    orders.take(control.StopSending())
    assert (orders.request.width, orders.request.height, orders.request.scale) == (1200, 700, 2.0)
    assert not orders.stopped.is_set()
    show = ShowPanels(("cost", "ledger", "fairness", "stages"), "light", 7, 15.0, "brushed")
    orders.take(show)
    orders.take(Resize(-1, 10**9, 0.0))
    assert orders.request == PictureRequest(SIDE_MIN, PICTURE_SIDE_MAX[1], 0.25, show)
    orders.take(control.Stop())
    assert orders.stopped.is_set()


def run_process(start, *commands, pass_fds):
    lines = b"".join(msgspec.json.encode(message) + b"\n" for message in (start, *commands))
    return subprocess.run(
        [sys.executable, "-m", "plots"], input=lines, capture_output=True, pass_fds=pass_fds, cwd=ROOT, timeout=120
    )


def test_stop_ends_the_process_while_its_session_runs():
    history, page = Page.create(history_sections()), Page.create(picture_sections())
    descriptors = (history.descriptor, page.descriptor)
    with subprocess.Popen(
        [sys.executable, "-m", "plots"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
        cwd=ROOT,
    ) as process:
        control.write_line(process.stdin, StartPanels(*descriptors, 320, 240, 1.0))
        control.write_line(process.stdin, control.Stop())
        assert process.wait(120) == 0
        assert process.stderr.read() == b""
    assert Picture(page).serial >= 1
    history.close()
    page.close()


@pytest.mark.parametrize("commands", [(), (control.Stop(),)])
def test_the_process_draws_the_history_and_ends_with_its_session(commands):
    history, page = Page.create(history_sections()), Page.create(picture_sections())
    rows = samples(100)
    history["samples"][:100] = rows
    history["head"][0] = 100
    start = StartPanels(history.descriptor, page.descriptor, 320, 240, 1.0)
    done = run_process(start, *commands, pass_fds=(history.descriptor, page.descriptor))
    assert (done.returncode, done.stderr) == (0, b"")
    _, pixels = Picture(page).read(0)
    np.testing.assert_array_equal(pixels, Panels(320, 240).draw(rows, TimeSpan.live_at(end_of(rows))))
    assert int(page["cpu_ns"][0]) > 0
    history.close()
    page.close()


def test_the_process_rejects_a_descriptor_without_a_page():
    page = Page.create(picture_sections())
    start = StartPanels(page.descriptor, page.descriptor, 320, 240, 1.0)
    done = run_process(start, pass_fds=(page.descriptor,))
    assert done.returncode == 1
    assert done.stderr == b""
    event = msgspec.json.decode(done.stdout.splitlines()[0], type=control.Event)
    assert isinstance(event, control.Failed)
    assert "share memory" in event.reason
    page.close()
