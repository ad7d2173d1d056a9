"""HTML for reports: elements, tables and pictures, and the page around them, for screens and paper, dark and light."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import NewType

from plots.style import DARK, LIGHT, Theme

# HTML that is safe to insert into a page.
# Nothing from a recording can become markup: text enters a page only through `text`, which escapes it, and mypy tells
# the two types apart.
Markup = NewType("Markup", str)


def text(value: object) -> Markup:
    """Any value as text of a page or of an attribute."""
    return Markup(escape(str(value), quote=True))


def joined(parts: Iterable[Markup]) -> Markup:
    """Parts, one per line."""
    return Markup("\n".join(parts))


def element(tag: str, *content: Markup, **attributes: object) -> Markup:
    """<tag attributes>content</tag>; `class_` stands for class, and so on. Attributes of None are left out."""
    # Python keywords need a trailing underscore: class_.
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    written = "".join(f' {names[name]}="{text(value)}"' for name, value in attributes.items() if value is not None)
    return Markup(f"<{tag}{written}>{''.join(content)}</{tag}>")


def paragraph(words: object, **attributes: object) -> Markup:
    """A paragraph of plain text."""
    return element("p", text(words), **attributes)


def section(title: str, anchor: str, *content: Markup) -> Markup:
    """A section labelled by its heading, for screen readers."""
    heading = element("h2", text(title), id=anchor)
    return Markup(f'<section aria-labelledby="{text(anchor)}">\n{heading}\n{joined(content)}\n</section>')


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]], *, figures: bool = True) -> Markup:
    """A table whose first column names its rows. `figures`: the other columns are numbers, right-aligned."""
    head = joined(element("th", text(name), scope="col") for name in heads)
    body = joined(
        element("tr", element("th", text(row[0]), scope="row"), *(_cell(value) for value in row[1:])) for row in rows
    )
    content = (element("caption", text(caption)), element("thead", element("tr", head)), element("tbody", body))
    return element("div", element("table", *content, class_="figures" if figures else None), class_="wide")


def _cell(value: object) -> Markup:
    """A cell of escaped text, with a class for a `Cell`."""
    if isinstance(value, Cell):
        return element("td", text(value.text), class_=value.mark)
    return element("td", text(value))


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell with a colour, which its text must not depend on."""

    text: str
    mark: str | None
    """CSS class: "good", "bad" or none."""


def data_uri(data: bytes, media_type: str) -> str:
    """A file as a URL that contains it."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def picture(
    light: str, alt: str, size: tuple[int, int], *, sources: Sequence[tuple[str, str]] = (), **attributes: object
) -> Markup:
    """An image of `size` pixels. `sources`: (media query, URL) of images that replace it."""
    others = "".join(f'<source media="{text(media)}" srcset="{text(address)}">' for media, address in sources)
    extra = "".join(f' {name.rstrip("_")}="{text(value)}"' for name, value in attributes.items())
    image = f'<img src="{text(light)}" alt="{text(alt)}" width="{size[0]}" height="{size[1]}"{extra}>'
    return Markup(f"<picture>{others}{image}</picture>")


# When dark pictures are shown; paper is always light.
DARK_MEDIA = "screen and (prefers-color-scheme: dark)"

# The page refers to nothing outside itself: pictures are data inside the file, and the policy forbids the rest.
_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<main>
$content
</main>
</body>
</html>
""")

_STYLE = """\
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 "DejaVu Sans", Verdana, system-ui,
  sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 12px; padding-bottom: 4px; border-bottom: 1px solid var(--edge); }
h3 { font-size: 15px; margin: 20px 0 8px; }
p { margin: 0 0 10px; max-width: 78ch; }
.muted, caption, figcaption { color: var(--muted); }
.lead { font-size: 17px; }
dl.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)); gap: 10px; margin: 16px 0 0; }
dl.cards div { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: 8px 12px; }
dl.cards dt { color: var(--muted); font-size: 13px; }
dl.cards dd { margin: 0; font-size: 19px; font-weight: bold; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; margin: 0 0 16px; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--edge); font-size: 14px; }
caption { text-align: left; padding: 0 0 6px; font-size: 13px; }
th, td { padding: 5px 12px; text-align: left; border-bottom: 1px solid var(--edge); vertical-align: top; }
thead th { color: var(--muted); font-weight: normal; }
tbody th { font-weight: bold; }
table.figures td, table.figures thead th + th { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
td.good { color: var(--good); }
td.bad { color: var(--bad); }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); gap: 16px; }
.strip { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 10px; margin: 0 0 16px; }
.canvases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)); gap: 16px; }
figure { margin: 0; }
figcaption { font-size: 13px; margin-top: 4px; font-variant-numeric: tabular-nums; }
img { display: block; width: 100%; height: auto; border: 1px solid var(--edge); border-radius: 4px; }
img.canvas { image-rendering: pixelated; background: var(--letterbox); }
.lapse { max-width: 512px; margin-bottom: 16px; }
pre { background: var(--card); border: 1px solid var(--edge); padding: 10px 12px; overflow-x: auto; font-size: 13px;
  line-height: 1.4; }
ol.log { padding-left: 0; list-style: none; }
ol.log li { margin: 0 0 6px; padding-left: 9ch; text-indent: -9ch; max-width: 90ch; }
ol.log .time { display: inline-block; min-width: 8ch; text-indent: 0; color: var(--muted);
  font-variant-numeric: tabular-nums; }
footer { margin-top: 40px; font-size: 13px; color: var(--muted); }
@media (max-width: 640px) { .strip { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media print {
  body { background: #fff; font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .animated { display: none; }
  .panels { grid-template-columns: 1fr 1fr; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; }
  h2, h3 { break-after: avoid; }
  figure, tr, dl.cards div { break-inside: avoid; }
}
"""


def page_of(title: str, *content: Markup) -> bytes:
    """The complete file."""
    page = _PAGE.substitute(title=text(title), style=_colors() + _STYLE.strip(), content=joined(content))
    # A file's name may have bytes that are not UTF-8, which Python keeps as lone surrogates.
    return page.encode("utf-8", "backslashreplace")


def _colors() -> str:
    """The themes of the panels as CSS variables."""
    return f":root {{ {_variables(LIGHT)} }}\n@media {DARK_MEDIA} {{ :root {{ {_variables(DARK)} }} }}\n"


def _variables(theme: Theme) -> str:
    colors = {
        "page": theme.page,
        "card": theme.plot,
        "edge": theme.edge,
        "text": theme.text,
        "muted": theme.text_muted,
        "good": theme.green_text,
        "bad": theme.vermilion,
        "letterbox": theme.letterbox,
    }
    return " ".join(f"--{name}: {color};" for name, color in colors.items())
