"""HTML, put together so that nothing from a recording can be taken for markup.

It knows no recording. Invariant: text becomes markup only through `text`, pictures only as data inside the file.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import NewType

Markup = NewType("Markup", str)
"""HTML that is safe to be put into a page."""


def text(value: object) -> Markup:
    """Anything, as text of a page or of an attribute."""
    return Markup(escape(str(value), quote=True))


def joined(parts: Iterable[Markup]) -> Markup:
    """Parts, a line each."""
    return Markup("\n".join(parts))


def element(tag: str, *content: Markup, **attributes: object) -> Markup:
    """<tag attributes>content</tag>; `class_` stands for class, and so on. Attributes of None are left out."""
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    told = "".join(f' {names[name]}="{text(value)}"' for name, value in attributes.items() if value is not None)
    return Markup(f"<{tag}{told}>{''.join(content)}</{tag}>")


def paragraph(words: object, **attributes: object) -> Markup:
    """A paragraph of plain text."""
    return element("p", text(words), **attributes)


def section(title: str, anchor: str, *content: Markup) -> Markup:
    """A section with its heading, which names it for readers that do not see."""
    heading = element("h2", text(title), id=anchor)
    return Markup(f'<section aria-labelledby="{text(anchor)}">\n{heading}\n{joined(content)}\n</section>')


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]], *, figures: bool = True) -> Markup:
    """A table whose first column names its rows. `figures`: the others are numbers, set to the right."""
    head = joined(element("th", text(name), scope="col") for name in heads)
    body = joined(
        element("tr", element("th", text(row[0]), scope="row"), *(_cell(value) for value in row[1:])) for row in rows
    )
    content = (
        element("caption", text(caption)),
        element("thead", element("tr", head)),
        element("tbody", body),
    )
    return element("div", element("table", *content, class_="figures" if figures else None), class_="wide")


def _cell(value: object) -> Markup:
    """A cell; markup in it is taken as that only where a `Cell` says so."""
    if isinstance(value, Cell):
        return element("td", text(value.words), class_=value.mark)
    return element("td", text(value))


class Cell:
    """A cell with a mark of its looks ("good" or "bad"), which its words tell too."""

    def __init__(self, words: str, mark: str | None) -> None:
        self.words, self.mark = words, mark


def data_uri(data: bytes, media_type: str) -> str:
    """A file as an address that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def picture(
    light: str, alt: str, size: tuple[int, int], *, sources: Sequence[tuple[str, str]] = (), **how: object
) -> Markup:
    """An image of `size` pixels, and by media query other ones in its place: (query, address)."""
    others = "".join(f'<source media="{text(media)}" srcset="{text(address)}">' for media, address in sources)
    attributes = "".join(f' {name.rstrip("_")}="{text(value)}"' for name, value in how.items())
    image = f'<img src="{text(light)}" alt="{text(alt)}" width="{size[0]}" height="{size[1]}"{attributes}>'
    return Markup(f"<picture>{others}{image}</picture>")
