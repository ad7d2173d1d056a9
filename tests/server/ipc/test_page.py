"""Shared pages: created, attached, refused with another layout, and gone with the last process that has them open."""

import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ipc.page import Page, PageError, canvas_sections, fleet_sections, newest_rows, telemetry_sections
from server.kernels import layout
from support.interrupted import interrupted

SECTIONS = {"counts": (np.dtype("i8"), (3,)), "picture": (np.dtype("u1"), (5, 7)), "last": (layout.LOOP, (2,))}


@pytest.fixture
def page():
    page = Page.create(SECTIONS)
    yield page
    page.close()


@pytest.mark.parametrize(
    "sections",
    [
        SECTIONS,
        telemetry_sections(3),
        canvas_sections(70, 45),
        fleet_sections(),
    ],
)
def test_a_new_page_is_zeros_in_the_shapes_asked_for(sections):
    page = Page.create(sections)
    for name, (dtype, shape) in sections.items():
        array = page[name]
        assert (array.dtype, array.shape) == (dtype, shape)
        assert array.ctypes.data % 64 == 0
        assert array.flags.writeable and array.flags.c_contiguous
    assert not np.count_nonzero(np.frombuffer(mmap.mmap(page.descriptor, 0), np.uint8)[64:])
    page.close()


def test_sections_do_not_overlap(page):
    for value, name in enumerate(SECTIONS, 1):
        page[name].view(np.uint8)[:] = value
    for value, name in enumerate(SECTIONS, 1):
        assert (page[name].view(np.uint8) == value).all()


def test_an_attached_page_shows_what_is_written(page):
    reader = Page.attach(page.descriptor, SECTIONS)
    page["counts"][1] = 42
    assert reader["counts"][1] == 42


def test_another_process_attaches_by_the_descriptor(page):
    page["counts"][2] = 4242
    code = (
        "import sys; import numpy as np; from server.ipc.page import Page; from server.kernels import layout;"
        f"page = Page.attach({page.descriptor}, {{'counts': (np.dtype('i8'), (3,)),"
        "'picture': (np.dtype('u1'), (5, 7)), 'last': (layout.LOOP, (2,))});"
        "page['picture'][4, 6] = 9; print(page['counts'][2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        pass_fds=[page.descriptor],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "4242\n"
    assert page["picture"][4, 6] == 9


class TestRefusals:
    def test_a_file_that_is_not_a_page(self, tmp_path):
        file = tmp_path / "other"
        file.write_bytes(b"something else entirely".ljust(100_000))
        with file.open("r+b") as opened, pytest.raises(PageError, match="holds no page"):
            Page.attach(opened.fileno(), SECTIONS)

    def test_a_page_that_is_too_short(self, page):
        more = SECTIONS | {"more": (np.dtype("u1"), (1 << 20,))}
        with pytest.raises(PageError, match=rf"has \d+ bytes, the page needs {Page.size_bytes(more)}"):
            Page.attach(page.descriptor, more)

    @pytest.mark.parametrize(
        "other",
        [
            {"counts": (np.dtype("u8"), (3,)), **{name: SECTIONS[name] for name in ("picture", "last")}},
            {"counted": SECTIONS["counts"], **{name: SECTIONS[name] for name in ("picture", "last")}},
            {**SECTIONS, "picture": (np.dtype("u1"), (7, 5))},
        ],
        ids=["dtype", "name", "shape"],
    )
    def test_a_page_of_other_sections(self, page, other):
        with pytest.raises(PageError, match="page has layout"):
            Page.attach(page.descriptor, other)

    def test_a_page_of_another_version(self, page, monkeypatch):
        monkeypatch.setattr(layout, "LAYOUT_VERSION", layout.LAYOUT_VERSION + 1)
        with pytest.raises(PageError, match=f"this program has {layout.LAYOUT_VERSION}"):
            Page.attach(page.descriptor, SECTIONS)


@given(st.integers(0, 40), st.integers(0, 45), st.integers(0, 12), st.booleans())
def test_rows_of_a_ring_come_oldest_first_without_overwritten_ones(head, since, more, is_writing):
    """Meanwhile `more` rows are written, and perhaps one more is half written."""
    ring, heads = np.zeros(8, np.int64), np.zeros(1, np.int64)

    def write(count):
        for _ in range(count):
            ring[heads[0] % 8] = heads[0]
            heads[0] += 1

    def go_on():
        write(more)
        if is_writing:
            ring[heads[0] % 8] = -1

    write(head)
    rows = newest_rows(interrupted(ring, None, go_on), heads, since).tolist()
    end = head + more
    assert rows == list(range(max(since, end - 7, 0), head))
    assert newest_rows(ring, heads).tolist() == list(range(max(0, end - 7), end))


def test_close_closes_the_descriptor_once():
    page = Page.create(SECTIONS)
    descriptor = page.descriptor
    page.close()
    page.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_page_has_no_name_in_any_folder(page):
    assert os.fstat(page.descriptor).st_nlink == 0


def test_a_page_that_is_garbage_collected_closes_its_file():
    page = Page.create(SECTIONS)
    descriptor = page.descriptor
    del page
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(descriptor)
