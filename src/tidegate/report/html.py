"""HTML and SVG built from elements, so that text is escaped and masked wherever it comes from."""

import html
import re

__all__ = ["Child", "Html", "element", "fragment"]


class Html(str):
    """Markup that is already safe. Only this module makes it."""

    __slots__ = ()


Child = str | Html | None
VOID = frozenset({"br", "meta", "hr"})
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What HTML allows in no text, and lone surrogates, which no file can hold."""
SECRETS = (
    (re.compile(r"(://[^:/@\s]+:)[^@/\s]+(?=@)"), r"\1***"),
    (
        re.compile(r"(?i)\b((?:password|passwd|pwd|secret|accountkey|sig|token)\s*=\s*)(?!env:|file:)[^\s&;,\"']+"),
        r"\1***",
    ),
    (re.compile(r'(?i)("[^"]*(?:password|secret|token|_key)"\s*:\s*")(?!env:|file:)[^"]+'), r"\1***"),
)
"""Nothing should write a secret into the journal; if something did, a report that is mailed around won't spread it."""


def element(tag: str, *children: Child, **attributes: str | float | None) -> Html:
    """`class_` stands for class, `stroke_width` for stroke-width. An attribute or child that is None is left out."""
    parts = [f'{_name(name)}="{_text(_value(value))}"' for name, value in attributes.items() if value is not None]
    opening = " ".join([tag, *parts])
    return Html(f"<{opening}>" if tag in VOID else f"<{opening}>{fragment(*children)}</{tag}>")


def fragment(*children: Child) -> Html:
    return Html("".join(child if isinstance(child, Html) else _text(child) for child in children if child is not None))


def style(sheet: str) -> Html:
    """The one place for text that isn't escaped: a constant of this package."""
    return Html(f"<style>{sheet}</style>")


def document(head: Html, body: Html) -> Html:
    return Html(f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n')


def _text(value: str) -> str:
    if any(sign in value for sign in ":="):
        for secret, mask in SECRETS:
            value = secret.sub(mask, value)
    return html.escape(value if value.isprintable() else UNPRINTABLE.sub("\ufffd", value))


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
