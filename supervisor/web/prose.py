"""Descriptions, which are Markdown, as HTML of which nothing can act.

Owns what of Markdown is kept, and what it may cost. HTML in a description is text, images are their
alternative text, links lead to web and mail addresses only. The renderer makes no other HTML; the sanitiser
behind it is a second lock. A long description, and what is more than a page of them, stays plain text.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

__all__ = ["MOST_CHARACTERS", "Prose", "plain", "prose_of"]

MOST_CHARACTERS = 20_000
"""Of a description that is rendered, and of all that one page renders: about 0.3 s at the worst."""

_DEEPEST = 20
_SUMMED_UP = 400
_TAGS = {
    *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "a"),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
}
_MARKED = re.compile(r"[*_`\[\]<>#~|\\&]|^\s*[-+=\d]", re.MULTILINE)


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        """True for what may be a link; another stays the text that it is written as."""
        return url.lower().startswith(("http://", "https://", "mailto:"))


def _renderer() -> _Markdown:
    made = _Markdown("commonmark", {"html": False, "maxNesting": _DEEPEST})
    made.enable(["table", "strikethrough"])
    made.add_render_rule("image", _image)
    # The page has headings of its own, whose levels would not fit.
    made.add_render_rule("heading_open", _heading)
    made.add_render_rule("heading_close", _heading)
    return made


def _image(self: RendererHTML, tokens: Sequence[Token], at: int, *_: Any) -> str:
    return str(escape(tokens[at].content))


def _heading(self: RendererHTML, tokens: Sequence[Token], at: int, *_: Any) -> str:
    return "<p><strong>" if tokens[at].nesting == 1 else "</strong></p>\n"


_markdown = _renderer()


@lru_cache(128)
def _rendered(text: str) -> Markup:
    made = nh3.clean(
        _markdown.render(inspect.cleandoc(text)),
        tags=_TAGS,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
        # What may scroll is reached by the keyboard.
        set_tag_attribute_values={"pre": {"tabindex": "0"}},
    )
    return Markup(made)  # noqa: S704 - sanitised


class Prose:
    """Descriptions of one page: called with one, it gives it as markup."""

    def __init__(self, rendered: dict[str, Markup]) -> None:
        self._rendered = rendered

    def __call__(self, text: str) -> Markup:
        """``text`` as HTML."""
        found = self._rendered.get(text)
        return Markup('<p class="plain-text">{}</p>').format(text) if found is None else found


async def prose_of(texts: Iterable[str]) -> Prose:
    """``texts``, those of them rendered for which there is room, made in a thread."""
    room = MOST_CHARACTERS
    chosen: dict[str, None] = {}
    for text in texts:
        if text and text not in chosen and len(text) <= room:
            room -= len(text)
            chosen[text] = None
    if not chosen:
        return Prose({})
    return await asyncio.to_thread(lambda: Prose({text: _rendered(text) for text in chosen}))


@lru_cache(1024)
def plain(text: str) -> str:
    """The beginning of ``text`` in one line, without its marks, as a row of a list shows it."""
    start = text[:_SUMMED_UP]
    if not _MARKED.search(start):
        return " ".join(start.split())
    words: list[str] = []
    for block in _markdown.parse(inspect.cleandoc(start)):
        for one in block.children or [block]:
            if one.type in ("softbreak", "hardbreak"):
                words.append(" ")
            elif one.type in ("text", "code_inline", "image", "fence", "code_block"):
                words.append(one.content)
        words.append(" ")
    return " ".join("".join(words).split())
