"""The log beside a file in WAL mode: whether all that was committed to it can be read, as SQLite itself does not say.

SQLite reads a log up to the first frame whose checksum is wrong, and takes what lies behind for a write that never
ended. Here the same frames are read by SQLite's documented format. Invariants: nothing is changed; a log that is being
written is never called damaged, nor is a commit that was under way when its writer ended.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEAD = struct.Struct(">8I")
"""Magic, version, page size, number of the generation, two salts, two checksums."""
_MAGIC = 0x377F0682
"""With its lowest bit set the checksums are of big-endian words, else of little-endian ones."""
_FRAME_WORDS = 6
"""Of a frame's head: page, pages of the file after a commit, else 0, two salts, two checksums."""
_CHECKED_BYTES = 8
"""So much of a frame's head is in its checksum."""
_MASK = 0xFFFFFFFF

Sums = tuple[int, int]
"""SQLite's checksum: of each two further words, the first and the second sum are added to the first sum, then the
second word and the first sum to the second. All modulo 2^32."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What of a log cannot be read any more."""

    frame: int
    """The first that is broken, from 1; 0: the log's head."""
    frame_count: int
    commit_count: int
    """Commits from there on, the broken one among them."""

    def __str__(self) -> str:
        """As a part of a sentence."""
        place = f"frame {self.frame} of {self.frame_count}" if self.frame else "its head"
        commits = "the last commit is" if self.commit_count == 1 else f"{self.commit_count} commits from there on are"
        return f"broken at {place}, and {commits} lost"


def loss_in(path: Path) -> Loss | None:
    """What was lost of the log of the SQLite file `path`; None for nothing, or where there is no log."""
    first = _look(path)
    # While we read, a writer may finish a frame that we saw half, or begin anew: what is broken stays so.
    return first if first is not None and first == _look(path) else None


def _look(path: Path) -> Loss | None:
    log = path.with_name(f"{path.name}-wal")
    try:
        with log.open("rb") as file:
            data = file.read()
            file.seek(0)
            head_after = file.read(_HEAD.size)
    except OSError:
        return None  # There is none, or SQLite, which reads it next, will say what is wrong.
    if len(data) < _HEAD.size or data[: _HEAD.size] != head_after:
        return None
    magic, _, page_bytes, generation, *_ = head = _HEAD.unpack_from(data)
    order = ">" if magic & 1 else "<"
    frame_bytes = _FRAME_WORDS * 4 + page_bytes
    is_whole = magic & ~1 == _MAGIC and _sums(data[:24], order) == (head[6], head[7])
    if not is_whole:
        return _headless(data)
    frames = _frames(data, frame_bytes)
    heads = frames[:, : _FRAME_WORDS * 4].copy().view(">u4")
    is_ours = (heads[:, 2] == head[4]) | (heads[:, 3] == head[5])
    whole_count = _whole_count(frames, heads, head, order)
    behind = np.flatnonzero(is_ours[whole_count:]) + whole_count
    if not len(behind) or (len(behind) == 1 and behind[0] == whole_count and generation > 0):
        return None  # Of an earlier generation, or perhaps a commit that was under way over what one left.
    # Whether the broken frame itself ended a commit may be what is broken.
    return Loss(whole_count + 1, len(frames), max(1, int((heads[behind, 1] != 0).sum())))


def _headless(data: bytes) -> Loss | None:
    """A log whose head is broken is read by nobody. Its page size is the file's, most often this one."""
    heads = _frames(data, _FRAME_WORDS * 4 + 4096)[:, : _FRAME_WORDS * 4].copy().view(">u4")
    commits = int(((heads[:, 1] != 0) & (heads[:, 2] == heads[0, 2])).sum()) if len(heads) else 0
    return Loss(0, len(heads), commits) if commits else None


def _frames(data: bytes, frame_bytes: int) -> NDArray[np.uint8]:
    """The frames that are there to their end, shape (n, frame_bytes)."""
    count = (len(data) - _HEAD.size) // frame_bytes
    return np.frombuffer(data, np.uint8, count * frame_bytes, _HEAD.size).reshape(count, frame_bytes)


def _whole_count(frames: NDArray[np.uint8], heads: NDArray[Any], head: Sequence[int], order: str) -> int:
    """Frames up to the first whose salts or checksums are not right."""
    checked = np.concatenate([frames[:, :_CHECKED_BYTES], frames[:, _FRAME_WORDS * 4 :]], axis=1)
    sums = (head[6], head[7])
    for index, (added, own) in enumerate(zip(_added(checked, order), heads[:, 2:6].tolist(), strict=True)):
        sums = _after(checked.shape[1], sums, added)
        if own != [*head[4:6], *sums]:
            return index
    return len(frames)


def _sums(data: bytes, order: str) -> Sums:
    """The checksum of some bytes with none before them."""
    (added,) = _added(np.frombuffer(data, np.uint8).reshape(1, -1), order)
    return added


def _added(rows: NDArray[np.uint8], order: str) -> list[Sums]:
    """What the bytes of each row add to the sums; linear, so it can be told without the sums before."""
    words = np.ascontiguousarray(rows).view(f"{order}u4").astype(np.uint32)
    weights, _ = _weights(words.shape[1] // 2)
    return [(first, second) for first, second in (words @ weights).tolist()]


def _after(byte_count: int, before: Sums, added: Sums) -> Sums:
    """The sums after so many bytes."""
    _, ((a, b), (c, d)) = _weights(byte_count // 8)
    first, second = before
    return (a * first + b * second + added[0]) & _MASK, (c * first + d * second + added[1]) & _MASK


@cache
def _weights(pair_count: int) -> tuple[NDArray[np.uint32], tuple[Sums, Sums]]:
    """With what each word enters the two sums, shape (2 * pair_count, 2); and with what the sums before it do."""
    weights = np.zeros((2 * pair_count, 2), np.uint32)
    (a, b), (c, d) = (1, 0), (0, 1)  # What the sums at this place come to at the end.
    for pair in range(pair_count - 1, -1, -1):
        weights[2 * pair] = (a + b) & _MASK, (c + d) & _MASK
        weights[2 * pair + 1] = b, d
        (a, b), (c, d) = ((a + b) & _MASK, (a + 2 * b) & _MASK), ((c + d) & _MASK, (c + 2 * d) & _MASK)
    return weights, ((a, b), (c, d))
