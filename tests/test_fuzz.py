"""The fuzzer's promises, as the suite can hold them: its kept inputs, and others made of those and of nothing.

`fuzz/run.py` looks much longer, guided by coverage, and adds what it finds to the kept inputs.
"""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent / "fuzz"))

import seeds
import targets

SEED_FOLDER_BYTES_MAX = 200_000
any_target = pytest.mark.parametrize("name", targets.TARGETS)


@any_target
def test_kept_inputs_keep_the_promise(name: str) -> None:
    kept = seeds.load(name)
    assert kept, "a target without inputs finds nothing"
    for data in kept:
        targets.TARGETS[name](data)


@any_target
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_so_do_others(name: str, data: st.DataObject) -> None:
    kept = st.sampled_from(seeds.load(name))
    start, end, between = data.draw(kept), data.draw(kept), data.draw(st.binary(max_size=12))
    cut = data.draw(st.integers(0, len(start)))
    targets.TARGETS[name](start[:cut] + between + end[data.draw(st.integers(0, len(end))) :])


def test_what_is_kept_is_small() -> None:
    assert sum(path.stat().st_size for path in seeds.CORPUS.iterdir()) < SEED_FOLDER_BYTES_MAX


@pytest.mark.parametrize(
    ("name", "place"),
    [("connection", "server.protocol.frames.parse_head"), ("http_head", "server.protocol.http._parse_headers")],
)
def test_a_broken_promise_is_seen(name: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise IndexError("a byte too far")

    monkeypatch.setattr(place, breaks)
    with pytest.raises(IndexError, match="a byte too far"):
        for data in seeds.load(name):
            targets.TARGETS[name](data)
