"""The kept corpus: one text file a target, an input a line in hex. Small enough to be read in a review.

An input is worth keeping if it alone takes some path through the code, identified by pairs of consecutive lines.
"""

import re
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
INPUT_BYTES_MAX = 1024
FILE_BYTES_MAX = 32 * 1024
"""Keeps the whole below 200 KB."""
_LOOKED_AT = re.compile(r"/server/(protocol|bridge)/|/server/topics\.py")


def load(target):
    """The inputs kept for a target."""
    path = CORPUS / f"{target}.txt"
    return [bytes.fromhex(line) for line in path.read_text().splitlines()] if path.exists() else []


def save(target, inputs):
    """Keep the shortest inputs that together take every way that any of them takes. Returns how many."""
    lines, seen, size = [], set(), 0
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        ways = _ways(target, data)
        if size + 2 * len(data) < FILE_BYTES_MAX and not ways <= seen:
            seen |= ways
            size += 2 * len(data) + 1
            lines.append(data.hex())
    (CORPUS / f"{target.__name__}.txt").write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def _ways(target, data):
    """The pairs of lines of the protocol's code that a run goes through, as (file, line, next line)."""
    found = set()

    def look(frame, event, _argument):
        path = frame.f_code.co_filename
        if not _LOOKED_AT.search(path):
            return None
        last = frame.f_lineno

        def step(frame, event, _argument):
            nonlocal last
            found.add((path, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(look)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return found
