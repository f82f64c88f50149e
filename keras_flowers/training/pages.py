"""What all pages about photos share: style, tables, small pictures. Such a page loads nothing.

Pages are written with f-strings: pages without loops inside of loops need no template language, and
every text that comes from photos goes through `as_text`.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference.image import as_data, read_photo
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores
from keras_flowers.training.sources.source import Read

SIDE: Final = 112
"""The longer side of a thumbnail in pixels: some 3 kB each, so that hundreds open in a moment."""

_AT_A_TIME = 16  # photos whose bytes are in memory

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --accent: #b3186d; }
@media (prefers-color-scheme: dark) { :root { --accent: #ff8ac4; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem;
  padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; border-top: 1px solid var(--line);
  padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1rem 0 0; }
p { margin: .25rem 0 1rem; max-width: 46rem; }
a { color: var(--accent); }
ol.todo { padding-left: 1.4rem; max-width: 46rem; } ol.todo li { margin: .4rem 0; }
code { background: var(--soft); padding: .1em .3em; border-radius: 4px; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(15.5rem, 1fr));
  gap: .75rem; }
.small { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: .5rem;
  min-width: 0; }
.pair { display: flex; gap: .5rem; } .pair > span { flex: 0 0 50%; min-width: 0; }
.pair small { display: block; opacity: .75; }
figure img, .none { display: block; width: 112px; height: 112px; max-width: 100%;
  object-fit: contain; background: var(--soft); border-radius: 4px; }
.none { display: grid; place-items: center; font-size: .8rem; }
figcaption { font-size: .85rem; margin-top: .35rem; overflow-wrap: anywhere; }
figcaption b { display: block; } .file { opacity: .75; }
.group { display: flex; flex-wrap: wrap; gap: .75rem; margin: .75rem 0; }
.group figure { width: 9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
@media print {
  @page { margin: 14mm; }
  :root { color-scheme: light; --accent: #b3186d; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  h2, h3, .kind { break-after: avoid; } figure, tr, thead { break-inside: avoid; }
  .wide { overflow: visible; } table { font-size: .8rem; }
}
"""


def as_document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """A whole page, which is not allowed to load anything.

    Args:
        title: What the window is called.
        body: HTML.
        style: More CSS.
        script: JavaScript, the only one that may run.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        body += f"\n<script>{script}</script>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="{policy}">
<title>{as_text(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def as_grid(figures: Sequence[str], *, small: bool = False) -> str:
    """Figures beside each other, as many as the window is wide."""
    return f'<div class="grid{" small" if small else ""}">\n{chr(10).join(figures)}\n</div>'


def as_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Iterable[int] = (),
    *,
    kind: str = "",
) -> str:
    """A table of cells that are HTML.

    Args:
        header: The names of the columns.
        rows: A cell for each column.
        numbers: Which columns hold numbers.
        kind: The class of the table.
    """
    right = dict.fromkeys(numbers, ' class="number"')
    head = "".join(
        f'<th scope="col"{right.get(place, "")}>{cell}</th>' for place, cell in enumerate(header)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{right.get(place, '')}>{cell}</td>" for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    # The keyboard can scroll it sideways, too.
    return (
        f'<div class="wide" tabindex="0"><table{f" class={kind!r}" if kind else ""}>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def as_picture(pictures: Mapping[int, str] | None, row: int, alternative: str) -> str:
    """A thumbnail; nothing on a page without photos.

    Args:
        pictures: As `thumbnails` gives them; None: the page is to show no photos.
        row: Which of them.
        alternative: What it shows; HTML.
    """
    if pictures is None:
        return ""
    if row not in pictures:
        return '<span class="none">cannot be read now</span>'
    return f'<img src="{pictures[row]}" alt="{alternative}" decoding="async">'


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun.

    >>> counted(1, "photo", "photos"), counted(1020, "photo", "photos")
    ('1 photo', '1,020 photos')
    """
    return f"{count:,} {one if count == 1 else many}"


def as_text(text: str) -> str:
    """Text that may hold anything, as HTML."""
    return html.escape(text)


def thumbnails(contents: Iterable[tuple[int, Read]], total: int) -> dict[int, str]:
    """A `data:` address for each photo; none for those that cannot be read.

    Args:
        contents: The photos' numbers, and what reads them.
        total: How many they are.
    """
    found: dict[int, str] = {}
    bar = progress_bar(total=total, unit="photo", description="drawing thumbnails")
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        reads: Iterator[tuple[int, Read]] = iter(contents)
        while some := list(islice(reads, _AT_A_TIME)):
            drawn = pool.map(_draw, [read for _, read in some])
            for (row, _), text in zip(some, drawn, strict=True):
                if text is not None:
                    found[row] = text
            bar.update(len(some))
    return found


def _draw(read: Read) -> str | None:
    try:
        photo = read_photo(read(), (SIDE, SIDE))
    except (OSError, UserError):
        return None
    photo.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    return as_data(photo)
