"""What the pages of the documentation hold, as data: marked blocks, tables, headings, links. And the rules for them.

A mark is an HTML comment on a line of its own, such as `<!-- keys -->`. It names the fenced block or table that
follows. Each rule returns lines that name the page, the fault and the remedy; no line means that the rule holds.
"""

import ast
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

FENCE = re.compile(r"^( *)```.*?^\1```[ ]*$", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]+)\)")


def pages_of(root: Path) -> dict[str, str]:
    """Path below `root`, with forward slashes, to text, of every page of the documentation."""
    paths = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


# --- Marked blocks --------------------------------------------------------------------------------------------------


def after_mark(page: str, mark: str) -> str:
    """The text between `<!-- mark -->` and the next mark. Raises ValueError when the page has no such mark."""
    start = page.find(f"<!-- {mark} -->\n")
    if start < 0:
        raise ValueError(f"the page has no <!-- {mark} --> mark: put it before the block that it names")
    return page[start:].partition("\n")[2].partition("\n<!-- ")[0] + "\n"


def block(page: str, mark: str) -> str:
    """The text inside the fence right after `<!-- mark -->`. Raises ValueError when there is none."""
    found = re.match(r"\s*^```.*?\n(.*?)^```", after_mark(page, mark), flags=re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no fenced block after <!-- {mark} -->: add it")
    return found[1]


def table(page: str, mark: str) -> list[str]:
    """The rows of the table right after `<!-- mark -->`, with its head."""
    rows = []
    for line in after_mark(page, mark).lstrip("\n").splitlines():
        if not line.startswith("|"):
            break
        rows.append(line)
    return rows


def cells(page: str, mark: str) -> list[list[str]]:
    """The cells of the table right after `<!-- mark -->`, row by row, without its head."""
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table(page, mark)[2:]]


def marks(page: str, kind: str) -> list[str]:
    """What follows the colon in each `<!-- kind: ... -->`, in order."""
    return re.findall(rf"^<!-- {kind}: (.+) -->$", page, flags=re.MULTILINE)


def with_block(page: str, mark: str, text: str) -> str:
    """The page with `text` in place of the fence or table after `<!-- mark -->`."""
    after_mark(page, mark)  # Raises where there is no such mark.
    pattern = rf"(<!-- {re.escape(mark)} -->\n\s*)(^```.*?^```$|(?:^\|[^\n]*\n)*)"
    found = re.search(pattern, page, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    end = "" if found[2].startswith("```") else "\n"
    return page[: found.start(2)] + text.rstrip("\n") + end + page[found.end(2) :]


def words_of(help_text: str) -> list[str]:
    """A help text without borders, colours and line breaks, which differ from one terminal library to the next."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", help_text)
    return re.sub(r"[\u2500-\u257f]", " ", plain).split()


# --- Links ----------------------------------------------------------------------------------------------------------


def anchors_of(page: str) -> set[str]:
    """Anchors of the headings that are the same on GitHub and in the built site."""
    anchors = set()
    for heading in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", page), flags=re.MULTILINE):
        plain = unicodedata.normalize("NFKD", re.sub(r"[`*]|\]\(.*?\)|[\[!]", "", heading)).lower()
        kept = re.sub(r"[^\w\s-]", "", plain).strip()
        on_github, in_site = kept.replace(" ", "-"), re.sub(r"[-\s]+", "-", kept)
        if on_github == in_site:
            anchors.add(in_site)
    return anchors


def check_links(pages: Mapping[str, str], root: Path) -> list[str]:
    """Links inside the documentation lead to a file that exists, and to a heading in it."""
    complaints = []
    for name, text in pages.items():
        for link in LINK.findall(FENCE.sub("", text)):
            path, _, anchor = link.partition("#")
            target = Path(os.path.normpath((root / name).parent / path)) if path else root / name
            if path and not target.exists():
                complaints.append(f"{name} links to {path}, which does not exist: correct the link")
            elif anchor and anchor not in anchors_of(pages.get(target.relative_to(root).as_posix(), "")):
                complaints.append(f"{name} links to {link}, but no heading there has the anchor #{anchor}")
    return complaints


def check_site_links(pages: Mapping[str, str]) -> list[str]:
    """Pages of the site link only to files of the site, which holds no others."""
    return [
        f"{name} links to {link}, which is outside docs/ and so not in the site: name the file instead"
        for name, text in pages.items()
        if name.startswith("docs/")
        for link in LINK.findall(FENCE.sub("", text))
        if link.startswith("../")
    ]


def check_paths(pages: Mapping[str, str], root: Path) -> list[str]:
    """Paths of the repository that pages name in backticks exist, but in the changelog, which speaks of other times."""
    return [
        f"{name} names {path}, which does not exist: name what took its place"
        for name, text in pages.items()
        if name != "CHANGELOG.md"
        for path in re.findall(r"`((?:workbench|plots|devices|server|tests|docs)/[a-z_0-9./]*)`", text)
        if not (root / path).exists()
    ]


COMMAND = re.compile(r"\bworkbench((?: [a-z]+)+)([^`\n#|]*)")


def check_options(pages: Mapping[str, str], helps: Mapping[str, str]) -> list[str]:
    """Options in the examples of pages are in the help of their command; `helps`: "workbench run" to its text."""
    complaints = []
    for name, text in pages.items():
        for words, rest in COMMAND.findall(text):
            command = "workbench"
            for word in words.split():
                command += f" {word}" if f"{command} {word}" in helps else ""
            complaints += [
                f"{name} shows {command} with {option}, which it does not have"
                for option in re.findall(r"(?<!\S)--[a-z-]+", rest)
                if option not in words_of(helps[command])
            ]
    return complaints


# --- Quoted messages ------------------------------------------------------------------------------------------------


def messages_of(tree: ast.AST) -> Iterator[str]:
    """Every text of a source file, with `…` in place of what is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


def check_quotes(page: str, messages: Iterable[str]) -> list[str]:
    """Each message that the page quotes, in a table under `<!-- messages: ... -->`, is one that a source can print."""
    known = "\n".join(messages)
    complaints = []
    for group in marks(page, "messages"):
        for row in cells(page, f"messages: {group}"):
            quoted = row[0].strip("`")
            pattern = "[^\n]*?".join(re.escape(part) for part in quoted.split("…"))
            if not re.search(pattern, known):
                complaints.append(f"no source prints {quoted!r}: quote what it prints now")
    return complaints
