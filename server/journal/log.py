"""Damage in the log (WAL) of an SQLite file, which SQLite itself does not report.

SQLite reads a log up to the first frame with a wrong checksum, and takes the rest for a write that never ended. This
module reads the same frames by SQLite's documented format, and counts the commits among them. It changes nothing.
A log that is being written is never reported as damaged, nor is a commit that was under way when its writer ended.

    OFFSET  SIZE  HEAD OF THE LOG, big-endian      OFFSET  SIZE  HEAD OF A FRAME, before its page
         0     4  magic                                 0     4  page number
         8     4  page size                             4     4  pages of the file after a commit; 0: no commit
        12     4  generation                            8   2x4  the salts of the head
        16   2x4  salts                                16   2x4  checksum over the log up to here, salts left out
        24   2x4  checksum
"""

import struct
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct(">8I")
_FRAME_HEAD = struct.Struct(">6I")
# With its lowest bit set, the checksums are of big-endian words, else of little-endian ones.
_MAGIC = 0x377F0682
_PAGE_BYTES = 4096
_MASK = 0xFFFFFFFF

Sums = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Loss:
    """The part of a log that cannot be read any more."""

    frame: int
    """The first broken frame, from 1; 0: the log's head."""
    frame_count: int
    commit_count: int
    """Lost commits, the broken one included."""

    def __str__(self) -> str:
        """As a part of a sentence."""
        place = f"frame {self.frame} of {self.frame_count}" if self.frame else "its head"
        commits = "the last commit is" if self.commit_count == 1 else f"{self.commit_count} commits from there on are"
        return f"broken at {place}, and {commits} lost"


def loss_in(path: Path) -> Loss | None:
    """What is lost of the log of the SQLite file `path`; None if nothing is lost, or there is no log."""
    first = _look(path)
    # While we read, a writer may complete a frame or start the log again. Real damage is the same the second time.
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
    magic, _, page_bytes, generation, *salts, first, second = _HEAD.unpack_from(data)
    order = ">" if magic & 1 else "<"
    if magic & ~1 != _MAGIC or _checksum(data[:24], (0, 0), order) != (first, second):
        return _without_head(data)
    heads = _frame_heads(data, page_bytes)
    whole_count = _whole_count(data, heads, page_bytes, salts, (first, second), order)
    # Frames of an earlier generation have other salts. One salt is enough: a salt may be what is broken.
    rest = [head for head in heads[whole_count:] if head[2] == salts[0] or head[3] == salts[1]]
    if not rest or (len(rest) == 1 and rest[0] is heads[whole_count] and generation > 0):
        return None  # Perhaps a commit that was under way, over frames of an earlier generation.
    # The mark of the commit may be what is broken, so one commit is lost at least.
    return Loss(whole_count + 1, len(heads), max(1, sum(head[1] != 0 for head in rest)))


def _without_head(data: bytes) -> Loss | None:
    """SQLite reads nothing of a log with a broken head. The page size is assumed."""
    heads = _frame_heads(data, _PAGE_BYTES)
    commits = sum(head[1] != 0 and head[2] == heads[0][2] for head in heads)
    return Loss(0, len(heads), commits) if commits else None


def _frame_heads(data: bytes, page_bytes: int) -> list[tuple[int, ...]]:
    """The heads of all frames that are there to their end."""
    frame_bytes = _FRAME_HEAD.size + page_bytes
    ends = range(_HEAD.size + frame_bytes, len(data) + 1, frame_bytes)
    return [_FRAME_HEAD.unpack_from(data, end - frame_bytes) for end in ends]


def _whole_count(
    data: bytes, heads: list[tuple[int, ...]], page_bytes: int, salts: list[int], sums: Sums, order: str
) -> int:
    """Number of frames before the first with wrong salts or a wrong checksum."""
    at = _HEAD.size
    for index, (*_, first_salt, second_salt, first, second) in enumerate(heads):
        page_at = at + _FRAME_HEAD.size
        sums = _checksum(data[at : at + 8], sums, order)
        sums = _checksum(data[page_at : page_at + page_bytes], sums, order)
        if [first_salt, second_salt] != salts or (first, second) != sums:
            return index
        at = page_at + page_bytes
    return len(heads)


def _checksum(data: bytes, sums: Sums, order: str) -> Sums:
    """SQLite's checksum, continued from `sums`: a Fibonacci-weighted sum of pairs of words."""
    first, second = sums
    for one, other in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
