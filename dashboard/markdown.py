"""Markdown that authors write, as HTML that cannot do anything but be read.

Raw HTML is shown as text; images are links; addresses are those of the web and mail only.
"""

from functools import cache

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

_SAFE = ("http://", "https://", "mailto:")


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return url.strip().lower().startswith(_SAFE)


def to_html(text: str) -> SafeString:
    """Return the HTML of a text; headings begin at the third level, below the question's own."""
    html: str = _parser().render(text)
    return mark_safe(html)  # noqa: S308 - made from tokens, without raw HTML


@cache
def _parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"html": False, "breaks": True}).enable("table")
    parser.disable("image")
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    parser.add_render_rule("link_open", _link)
    return parser


def _heading(
    self: RendererHTML, tokens: list[Token], place: int, options: OptionsDict, _env: EnvType
) -> str:
    token = tokens[place]
    token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return self.renderToken(tokens, place, options, _env)


def _link(
    self: RendererHTML, tokens: list[Token], place: int, options: OptionsDict, _env: EnvType
) -> str:
    tokens[place].attrSet("rel", "noopener noreferrer nofollow")
    return self.renderToken(tokens, place, options, _env)
