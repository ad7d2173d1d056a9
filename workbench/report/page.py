"""The page around a report: its head, its looks on screens and on paper, in the dark and in the light.

Not what it says. Invariant: the page refers to nothing outside of itself.
"""

from string import Template

from workbench.report.markup import Markup, joined, text

DARK_MEDIA = "screen and (prefers-color-scheme: dark)"
"""Where dark pictures are shown; paper is light."""

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
:root { --page: #f4f5f7; --card: #ffffff; --edge: #ced3db; --text: #181c22; --muted: #545d6a; --accent: #0b5a9e;
  --good: #046b5d; --bad: #741f06; --letterbox: #e2e5ea; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #0f1115; --card: #16191f; --edge: #2c323c; --text: #e6e9ee; --muted: #8b95a3; --accent: #56b4e9;
    --good: #3fbf9b; --bad: #f08a4b; --letterbox: #12151a; }
}
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
    """The whole file."""
    page = _PAGE.substitute(title=text(title), style=_STYLE.strip(), content=joined(content))
    return page.encode("utf-8")
