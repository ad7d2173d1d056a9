"""The documentation is what the program is: generated parts, links, quoted messages, paths. Each rule can complain.

`WRITE_DOCS=1 python -m pytest tests/test_docs.py` writes the generated parts into the pages; look at the difference.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from plots.series import PANELS
from support.house_rules import House, parsed
from support.page_parts import PARTS, ROOT, Part, help_commands, help_text
from support.page_rules import (
    block,
    cells,
    check_links,
    check_options,
    check_paths,
    check_quotes,
    check_site_links,
    marks,
    messages_of,
    pages_of,
    table,
    with_block,
    words_of,
)
from workbench.scenarios.scenario import builtin_names, load_scenario

IS_WRITING = os.environ.get("WRITE_DOCS") == "1"
REMEDY = "run WRITE_DOCS=1 python -m pytest tests/test_docs.py, and look at the difference"
README_LINES_MAX = 220


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def write(name: str, mark: str, text: str) -> None:
    (ROOT / name).write_text(with_block(page(name), mark, text), encoding="utf-8")


def report(complaints: list[str]) -> None:
    """Fail with one line a complaint."""
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def shown(text: str, mark: str) -> list[str]:
    """The lines of the block or table after a mark."""
    return table(text, mark) or block(text, mark).splitlines()


class TestGenerated:
    @pytest.mark.parametrize("part", PARTS, ids=lambda part: part.mark.replace(" ", "_"))
    def test_part_is_current(self, part: Part) -> None:
        text = part.render()
        if IS_WRITING:
            write(part.page, part.mark, text)
        if shown(page(part.page), part.mark) != [line for line in text.splitlines() if not line.startswith("```")]:
            pytest.fail(f"{part.page}: the block after <!-- {part.mark} --> is old: {REMEDY}", pytrace=False)

    @pytest.mark.parametrize("command", help_commands())
    def test_help_text_is_the_real_one(self, command: str) -> None:
        # But for borders and line breaks, which differ from one terminal library to the next.
        text = help_text(command)
        if words_of(text) != words_of(block(page("docs/cli.md"), f"help: {command}")):
            if not IS_WRITING:
                pytest.fail(f"docs/cli.md: the help of {command} is old: {REMEDY}\n{text}", pytrace=False)
            write("docs/cli.md", f"help: {command}", f"```text\n{text}```")

    def test_every_command_is_in_the_page(self) -> None:
        listed = help_text("workbench").partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        names = [line.split()[0] for line in listed if line[:3].strip()]
        assert names, "`workbench --help` lists no commands"
        commands = [command.partition(" ")[2] for command in help_commands()]
        assert sorted(names) == sorted(name for name in commands if name and " " not in name)

    def test_each_scenario_is_in_one_group_of_readme(self) -> None:
        groups = " ".join(row[1] for row in cells(page("README.md"), "scenario groups"))
        assert sorted(re.findall(r"`(\w+)`", groups)) == sorted(builtin_names())


class TestExamples:
    def test_options_are_those_of_their_commands(self) -> None:
        pages = {name: text for name, text in pages_of(ROOT).items() if name != "CHANGELOG.md"}
        helps = {command: block(pages["docs/cli.md"], f"help: {command}") for command in help_commands()}
        report(check_options(pages, helps))

    @pytest.mark.parametrize("name", sorted(name for name, text in pages_of(ROOT).items() if "```toml" in text))
    def test_scenarios_load(self, name: str, tmp_path: Path) -> None:
        for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)):
            path = tmp_path / f"{number}.toml"
            path.write_text(text, encoding="utf-8")
            assert load_scenario(str(path)).title

    def test_guide_lists_the_panels(self) -> None:
        assert {row[0] for row in cells(page("docs/guide.md"), "panels")} == {spec.title for spec in PANELS.values()}


class TestPages:
    def test_links_lead_somewhere(self) -> None:
        report(check_links(pages_of(ROOT), ROOT) + check_site_links(pages_of(ROOT)))

    def test_paths_exist(self) -> None:
        report(check_paths(pages_of(ROOT), ROOT))

    def test_quoted_messages_are_real(self) -> None:
        sources = (text for path in House(ROOT).sources() for text in messages_of(parsed(path)))
        report(check_quotes(page("docs/troubleshooting.md"), sources))

    def test_readme_is_short(self) -> None:
        assert len(page("README.md").splitlines()) <= README_LINES_MAX, "move what is too much to a page of docs/"

    def test_site_builds(self, needs_package: Callable[[str], ModuleType], tmp_path: Path) -> None:
        needs_package("mkdocstrings_handlers.python")
        built = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, built.stdout + built.stderr
        assert "receive_data" in (tmp_path / "site" / "api.html").read_text(encoding="utf-8")


# --- Each rule can complain -----------------------------------------------------------------------------------------


def only(complaints: list[str]) -> str:
    assert len(complaints) == 1, complaints
    return complaints[0]


class TestRulesComplain:
    def test_about_a_link_to_no_file(self, tmp_path: Path) -> None:
        text = "![x](docs/window.png) [y](https://a.b/c) [z](#d)\n\n# D\n\n```\n[a](b)\n```\n"
        assert "links to docs/window.png" in only(check_links({"README.md": text}, tmp_path))

    def test_about_a_link_to_no_heading(self, tmp_path: Path) -> None:
        pages = {"a.md": "[x](b.md#there-is-one) [y](b.md#none)\n", "b.md": "## There is `one`\n```\n# none\n```\n"}
        for name, text in pages.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        assert "no heading there has the anchor #none" in only(check_links(pages, tmp_path))

    def test_about_a_link_out_of_the_site(self) -> None:
        pages = {"README.md": "[x](../y.md)", "docs/a.md": "[x](../README.md)"}
        assert "docs/a.md links to ../README.md" in only(check_site_links(pages))

    def test_about_a_path_that_is_gone(self, tmp_path: Path) -> None:
        (tmp_path / "server").mkdir()
        pages = {"a.md": "`server/` and `server/gone.py`\n"}
        assert "a.md names server/gone.py" in only(check_paths(pages, tmp_path))

    def test_about_an_option_that_is_none(self) -> None:
        helps = {"workbench": "--help", "workbench run": "--seed N  --set KEY", "workbench scenarios show": "--help"}
        text = "```sh\nworkbench run crowd --seed 3   # --not-this\n```\n`workbench scenarios show x --help`\n"
        assert check_options({"a.md": text}, helps) == []
        text += "`workbench run --sead 1`\n"
        assert only(check_options({"a.md": text}, helps)).startswith("a.md shows workbench run with --sead")

    def test_about_a_message_that_nothing_prints(self) -> None:
        quotes = "<!-- messages: all -->\n| message |\n|---|\n| `port … is taken` |\n| `port … is free` |\n"
        assert "'port … is free'" in only(check_quotes(quotes, ["cannot listen: port … is taken; choose another"]))

    def test_about_a_mark_that_is_missing(self) -> None:
        with pytest.raises(ValueError, match="no <!-- tree --> mark"):
            block("# Title\n", "tree")
        with pytest.raises(ValueError, match="no fenced block"):
            block("<!-- tree -->\nText\n```\na\n```\n", "tree")

    def test_a_block_is_replaced_and_nothing_else(self) -> None:
        text = "a\n<!-- x -->\n| h |\n|---|\n| 1 |\n\nb\n<!-- y -->\n\n```text\nold\n```\nc\n"
        new = with_block(with_block(text, "x", "| h |\n|---|\n| 2 |\n| 3 |\n"), "y", "```text\nnew\n```")
        assert new == "a\n<!-- x -->\n| h |\n|---|\n| 2 |\n| 3 |\n\nb\n<!-- y -->\n\n```text\nnew\n```\nc\n"
        assert marks("<!-- help: workbench run -->\n", "help") == ["workbench run"]

    def test_words_of_a_help_text_know_no_borders(self) -> None:
        assert words_of("╭─ Options ─╮\n│ \x1b[1m--seed\x1b[0m  N │\n╰──╯") == ["Options", "--seed", "N"]
