"""How text looks, as the sequences that make it look so. PURE."""

from __future__ import annotations

import functools

from toowld.screen.state import PLAIN, Attribute, Colour, Link, Style

_ATTRIBUTES = (
    (Attribute.BOLD, b"1"),
    (Attribute.FAINT, b"2"),
    (Attribute.ITALIC, b"3"),
    (Attribute.BLINK, b"5"),
    (Attribute.INVERSE, b"7"),
    (Attribute.INVISIBLE, b"8"),
    (Attribute.STRIKETHROUGH, b"9"),
    (Attribute.OVERLINE, b"53"),
)
_CONTROL = bytes((*range(0x20), 0x7F))


@functools.lru_cache(maxsize=4096)
def style(look: Style) -> bytes:
    """The sequence after which text looks like that, whatever it looked like before."""
    if look == PLAIN:
        return b"\x1b[m"
    parts = [b"0"]
    parts += [code for attribute, code in _ATTRIBUTES if look.attributes & attribute]
    if look.underline:
        # Plain 4 is known to every terminal; of 4:3 an old one would make something else.
        parts.append(b"4" if look.underline == 1 else b"4:%d" % look.underline)
    parts += _colour(look.fg, 30, 38) + _colour(look.bg, 40, 48)
    if look.underline_colour is not None:
        # Always with colons: a terminal that does not know 58 must not take what follows for attributes.
        value = look.underline_colour
        parts.append(b"58:5:%d" % value if isinstance(value, int) else b"58:2::%d:%d:%d" % value)
    return b"\x1b[" + b";".join(parts) + b"m"


def _colour(colour: Colour, base: int, extended: int) -> list[bytes]:
    if colour is None:
        return []
    if not isinstance(colour, int):
        return [b"%d;2;%d;%d;%d" % (extended, *colour)]
    if colour < 8:
        return [b"%d" % (base + colour)]
    if colour < 16:
        return [b"%d" % (base + 60 + colour - 8)]
    return [b"%d;5;%d" % (extended, colour)]


def link(target: Link | None) -> bytes:
    """The sequence after which text leads there; None: nowhere."""
    if target is None:
        return b"\x1b]8;;\x1b\\"
    identity = clean(target.id).replace(b":", b"").replace(b";", b"")
    return b"\x1b]8;%s;%s\x1b\\" % (b"id=" + identity if identity else b"", clean(target.uri))


def clean(text: bytes) -> bytes:
    """What may stand in a string of a sequence: nothing that ends it."""
    return text.translate(None, _CONTROL)
