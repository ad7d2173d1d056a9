"""What README says, as data: its marked blocks, its tables, its tree. And the rules that hold it to the truth.

A mark is an HTML comment on a line of its own, such as `<!-- tree -->`; it speaks of the block that follows. Each rule
returns lines that name the fault and what to do; no line means that the rule holds.
"""

import re
from pathlib import Path


def after_mark(readme: str, mark: str) -> str:
    """The text between `<!-- mark -->` and the next mark. Raises ValueError when there is no such mark."""
    start = readme.find(f"<!-- {mark} -->\n")
    if start < 0:
        raise ValueError(f"README.md has no <!-- {mark} --> mark: put it before the block it speaks of")
    return readme[start:].partition("\n")[2].partition("\n<!-- ")[0] + "\n"


def block(readme: str, mark: str) -> str:
    """The fenced block right after `<!-- mark -->`. Raises ValueError when there is none."""
    found = re.match(r"\s*^```.*?\n(.*?)^```", after_mark(readme, mark), flags=re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no fenced block after <!-- {mark} -->: add it")
    return found[1]


def table(readme: str, mark: str) -> list[str]:
    """The rows of the table right after `<!-- mark -->`, its head among them."""
    rows = []
    for line in after_mark(readme, mark).lstrip("\n").splitlines():
        if not line.startswith("|"):
            break
        rows.append(line)
    return rows


def cells(readme: str, mark: str) -> list[list[str]]:
    """The cells of the table right after `<!-- mark -->`, row by row, without its head."""
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table(readme, mark)[2:]]


def marks(readme: str, kind: str) -> list[str]:
    """What follows the colon in each `<!-- kind: ... -->`, in order."""
    return re.findall(rf"^<!-- {kind}: (.+) -->$", readme, flags=re.MULTILINE)


def tree_of(drawn: str) -> set[str]:
    """Paths that a drawn tree names: what it holds is indented, folders end in a slash, two levels are looked at."""
    paths, folder = set(), ""
    for line in drawn.splitlines():
        if line.strip():
            name = line.split()[0]
            if not line.startswith(" "):
                folder = name if name.endswith("/") else ""
            paths.add(name if not line.startswith(" ") else folder + name)
    return paths


def check_tree(drawn: str, files: list[str]) -> list[str]:
    """The drawn tree is the real one, at the top and one level below."""
    there = set()
    for file in files:
        parts = file.split("/")
        there.add(parts[0] + ("/" if len(parts) > 1 else ""))
        if len(parts) > 1:
            there.add("/".join(parts[:2]) + ("/" if len(parts) > 2 else ""))
    told = tree_of(drawn)
    return [f"{path} is not in README's tree: add it with a few words" for path in sorted(there - told)] + [
        f"README's tree names {path}, which is not there: take it out" for path in sorted(told - there)
    ]


def words_of(help_text: str) -> list[str]:
    """A help text without borders, colours and line breaks, which differ from one terminal library to the next."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", help_text)
    return re.sub(r"[\u2500-\u257f]", " ", plain).split()


def check_links(readme: str, root: Path) -> list[str]:
    """Links of README to files lead somewhere."""
    targets = re.findall(r"\]\((?!https?:|#)([^)\s#]+)", readme)
    return [f"README.md links to {target}, which is not there" for target in targets if not (root / target).exists()]
