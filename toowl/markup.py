"""What a session shows, as a picture: SVG, or HTML. PURE.

Everything in it comes from a session, so from anybody: it is escaped, links lead nowhere but to the web, and the SVG
has neither scripts nor anything from elsewhere, so it may be put into a bug report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from toowl.drawing import uri
from toowld.screen.state import Attribute, Colour, Row, Run, Style, Terminal

#: Of a cell, in pixels: monospaced characters of this height are 0.6 of it wide in nearly every font.
_FONT = 14
_WIDTH, _HEIGHT = 8.4, 18
_MARGIN, _BAR = 12, 30
_FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"

_TEXT, _BACKGROUND, _FRAME, _TITLE = "#d4d4d4", "#1b1b1b", "#2b2b2b", "#9a9a9a"
_PALETTE = (
    "#000000", "#cd3131", "#0dbc79", "#e5e510", "#2472c8", "#bc3fbc", "#11a8cd", "#e5e5e5",
    "#666666", "#f14c4c", "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#ffffff",
)  # fmt: skip
_STEPS = (0, 95, 135, 175, 215, 255)
_LINES = ("", "underline", "underline double", "underline wavy", "underline dotted", "underline dashed")
#: What XML can't hold, however it is written.
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SAFE_LINK = re.compile(r"(?:https?|mailto):", re.IGNORECASE)


def svg(terminal: Terminal, rows: Sequence[Row], *, title: str, cursor_row: int | None = None) -> str:
    """A window with the rows in it.

    Args:
        title: in its bar.
        cursor_row: in which of the rows the cursor is shown; None: in none.
    """
    look = _Look(terminal)
    cols = max((sum(run.cells for run in row.runs) for row in rows), default=0)
    cols = max(cols, terminal.size.cols)
    width = 2 * _MARGIN + cols * _WIDTH
    height = _BAR + 2 * _MARGIN + len(rows) * _HEIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="{_FONTS}" font-size="{_FONT}" xml:space="preserve">\n'
        f"<title>{_clean(title)}</title>\n"
        f'<rect width="100%" height="100%" rx="8" fill="{look.background}"/>\n'
        f'<path d="M0 {_BAR}V8a8 8 0 0 1 8-8H{width - 8:.0f}a8 8 0 0 1 8 8V{_BAR}z" fill="{_FRAME}"/>\n'
        f'<text x="{width / 2:.0f}" y="20" fill="{_TITLE}" text-anchor="middle">{_clean(title)}</text>\n'
    ]
    for number, row in enumerate(rows):
        top = _BAR + _MARGIN + number * _HEIGHT
        if number == cursor_row:
            left = _MARGIN + terminal.grid.cursor.x * _WIDTH
            out.append(
                f'<rect x="{left:.1f}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" '
                f'fill="{look.text}" opacity=".5"/>\n'
            )
        out.append(_svg_row(row, top, look))
    return "".join(out) + "</svg>\n"


def _svg_row(row: Row, top: int, look: _Look) -> str:
    rects, texts = [], []
    x = 0
    for run in row.runs:
        left, wide = _MARGIN + x * _WIDTH, run.cells * _WIDTH
        x += run.cells
        text, background = look.colours(run.style)
        if background is not None:
            rects.append(
                f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_HEIGHT}" fill="{background}"/>'
            )
        if (not run.text.strip() and not run.style.underline) or run.style.attributes & Attribute.INVISIBLE:
            continue
        # Kept as wide as its cells, whatever font there is.
        css = _css(run.style, look)
        css = f' style="{css[1:]}"' if css else ""
        made = (
            f'<text x="{left:.1f}" y="{top + 13}" textLength="{wide:.1f}" lengthAdjust="spacingAndGlyphs" '
            f'fill="{text}"{css}>{_clean(run.text)}</text>'
        )
        texts.append(_linked(run, made))
    return "".join([*rects, *texts]) + "\n" if rects or texts else ""


def html(terminal: Terminal, rows: Sequence[Row], *, title: str) -> str:
    """A page with the rows in it."""
    look = _Look(terminal)
    lines = "\n".join("".join(_span(run, look) for run in row.runs) for row in rows)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{_clean(title)}</title>\n'
        f"<style>body{{margin:1em;background:{look.background}}} "
        f"pre{{color:{look.text};font:{_FONT}px/{_HEIGHT}px {_FONTS}}} a{{color:inherit}}</style>\n"
        f"<pre>{lines}</pre>\n</html>\n"
    )


def _span(run: Run, look: _Look) -> str:
    text, background = look.colours(run.style)
    shown = "" if run.style.attributes & Attribute.INVISIBLE else run.text
    content = _clean(shown or " " * run.cells)
    css = _css(run.style, look)
    if text != look.text:
        css += f";color:{text}"
    if background is not None:
        css += f";background:{background}"
    return _linked(run, f'<span style="{css[1:]}">{content}</span>' if css else content)


def _linked(run: Run, made: str) -> str:
    if run.link is None or not _SAFE_LINK.match(uri(run.link)):
        return made
    return f'<a href="{_clean(uri(run.link))}">{made}</a>'


def _css(style: Style, look: _Look) -> str:
    css = ""
    if style.attributes & Attribute.BOLD:
        css += ";font-weight:bold"
    if style.attributes & Attribute.ITALIC:
        css += ";font-style:italic"
    if style.attributes & Attribute.FAINT:
        css += ";opacity:.6"
    lines = [_LINES[style.underline]] if style.underline else []
    lines += ["line-through"] if style.attributes & Attribute.STRIKETHROUGH else []
    lines += ["overline"] if style.attributes & Attribute.OVERLINE else []
    if lines:
        css += f";text-decoration:{' '.join(lines)}"
    if style.underline and style.underline_colour is not None:
        css += f";text-decoration-color:{look.colour(style.underline_colour, look.text)}"
    return css


def _clean(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))


class _Look:
    """The colours of one terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._palette = terminal.palette
        own = terminal.colours
        self.text = _hex(own[10]) if 10 in own else _TEXT
        self.background = _hex(own[11]) if 11 in own else _BACKGROUND
        if terminal.mode(5):  # reverse video
            self.text, self.background = self.background, self.text

    def colour(self, colour: Colour, default: str) -> str:
        if colour is None:
            return default
        if isinstance(colour, tuple):
            return _hex(colour)
        if colour in self._palette:
            return _hex(self._palette[colour])
        if colour < 16:
            return _PALETTE[colour]
        if colour >= 232:
            return _hex((8 + 10 * (colour - 232),) * 3)
        cube = colour - 16
        return _hex((_STEPS[cube // 36], _STEPS[cube // 6 % 6], _STEPS[cube % 6]))

    def colours(self, style: Style) -> tuple[str, str | None]:
        """Of the text, and of what is behind it; None: as behind everything."""
        text = self.colour(style.fg, self.text)
        background = None if style.bg is None else self.colour(style.bg, self.background)
        if style.attributes & Attribute.INVERSE:
            return background or self.background, text
        return text, background


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
