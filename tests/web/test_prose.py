"""Descriptions as Markdown: what is kept of it, and that nothing hostile comes through."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from supervisor.web.prose import MOST_CHARACTERS, Prose, plain, prose_of

from .site import site

ALLOWED = {
    *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "a"),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
}


class Tags(HTMLParser):
    """The elements of a text, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def made(*texts: str) -> Prose:
    return asyncio.run(prose_of(texts))


def html(text: str) -> str:
    return str(made(text)(text))


def test_markdown_becomes_html() -> None:
    text = """Settle **the day** before `yesterday`.

    # In short

    * one
    * [two](https://example.com/a?b=1&c=2 "its page")

    | a | b |
    |---|---|
    | 1 | ~~2~~ |

    ```python
    settle("<x>")
    ```
    """
    shown = html(text)
    for part in (
        "<strong>the day</strong>",
        "<code>yesterday</code>",
        "<p><strong>In short</strong></p>",
        "<li>one</li>",
        "<td><s>2</s></td>",
        'settle("&lt;x&gt;")',
    ):
        assert part in shown
    assert re.search(r'<a href="https://example.com/a\?b=1&amp;c=2"[^>]*rel="noopener', shown)
    assert '<pre tabindex="0">' in shown


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![x](https://elsewhere.example/a.png)",
        "![x](data:image/png;base64,AAAA)",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](&#106;avascript:alert(1))",
        "[a](java\nscript:alert(1))",
        "[a](<java\tscript:alert(1)>)",
        "[a](vbscript:x) [b](data:text/html;base64,PHNjcmlwdD4=) [c](file:///etc/passwd)",
        "[a]: javascript:alert(1)\n\n[a]",
        "<javascript:alert(1)>",
        '[a](https://x.example "\\" onmouseover=alert(1) x=\\"")',
        "[a](/orders) [b](//elsewhere.example) [c](?x) [d](#main)",
        '```"><script>alert(1)</script>\nx\n```',
        "<svg><style><img src=x onerror=alert(1)></style></svg>",
        "<!--><script>alert(1)</script>-->",
        "<a href='javascript:1'>[b](javascript:2)</a>",
        "\x00<script\x00>alert(1)</script>",
        "<form action=/orders><input name=all value=1></form>",
    ],
)
def test_nothing_hostile_comes_through(text: str) -> None:
    for tag, attributes in Tags(html(text)).found:
        assert tag in ALLOWED
        assert set(attributes) <= {"href", "title", "rel", "tabindex", "start"}
        link = attributes.get("href")
        assert link is None or link.startswith(("http://", "https://", "mailto:"))
        assert "rel" in attributes or tag != "a"


@pytest.mark.parametrize(
    "piece", ["[", "![a](", "> ", "- ", "*_", "**a ", "`", "|a", "\\", "<a ", "~~", "a\n", "&#x"]
)
def test_what_is_nested_or_repeated_has_an_end(piece: str) -> None:
    text = piece * (MOST_CHARACTERS // len(piece))
    assert {tag for tag, _ in Tags(html(text)).found} <= ALLOWED
    assert "\n" not in plain(text)


def test_what_is_too_long_stays_text() -> None:
    text = "**a** " * MOST_CHARACTERS
    assert "**a**" in html(text)
    first, second = "*b* " * (MOST_CHARACTERS // 5), "*c* " * (MOST_CHARACTERS // 5)
    both = made(first, second)
    assert "<em>b</em>" in both(first)
    assert "*c*" in both(second)
    assert "<script>" not in made()("<script>")


def test_a_row_has_the_beginning_in_plain_words() -> None:
    assert plain("Every *booked* transaction of\n`ledger`.\n\nMore [here](https://x.example).") == (
        "Every booked transaction of ledger. More here."
    )
    assert plain("plain\n  words") == "plain words"
    assert plain("snake_case and 2 > 1") == "snake_case and 2 > 1"


TEAM = '''\
from runner_shim import Definitions, job, op

@op(description="Rows of **the day**.")
def fetch():
    pass

@job
def settle():
    """Settle *quickly*.

    See [the manual](https://example.com/manual).
    """
    fetch()

defs = Definitions(jobs=[settle])
'''


def test_pages_show_descriptions_as_markdown(tmp_path: Path) -> None:
    with site(tmp_path, {"one.py": TEAM}) as there:
        page = there.page.get("/definition", location="one", kind="job", name="settle").text
        assert "Settle <em>quickly</em>." in page
        assert (
            '<a href="https://example.com/manual" rel="noopener noreferrer">the manual</a>' in page
        )
        assert "Rows of <strong>the day</strong>." in page
        assert "Settle quickly. See the manual." in there.page.get("/definitions").text
