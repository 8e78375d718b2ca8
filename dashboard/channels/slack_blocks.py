"""What is shown in Slack, as its blocks. What authors wrote is plain text: it can call nobody."""

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from dashboard.channels.contents import Choice, Line, Notice, Outcome

ANSWER = "signoff_answer"
"""Action of a button that answers; several in a message have this as the beginning of their id."""
VIEW = "signoff_decision"
COMMENT = "comment"

MAX_COMMENT = 3000
_MAX_TITLE = 150
_MAX_TEXT = 3000
_MAX_FIELD = 2000
_MAX_FIELDS = 10
_MAX_BUTTON = 75
_MAX_MODAL_TITLE = 24
_STYLES = {"primary": "primary", "danger": "danger"}


def question(notice: Notice, place: str, url: str, lead: str) -> list[dict[str, Any]]:
    """Return a question with its buttons; ``place`` says which, when one is pressed.

    Without ``url`` there are none.
    """
    head: list[dict[str, Any]] = [{"type": "header", "text": _plain(notice.title, _MAX_TITLE)}]
    text = "\n".join(one for one in (lead, notice.question, notice.consequence, notice.due) if one)
    if text:
        head.append({"type": "section", "text": _plain(text, _MAX_TEXT)})
    buttons = [_answer_button(choice, place) for choice in notice.choices if not choice.needs_page]
    if url:
        buttons.append({"type": "button", "text": _plain(_("Open"), _MAX_BUTTON), "url": url})
    actions = [{"type": "actions", "elements": buttons}] if buttons else []
    return [*head, *_facts(notice.facts), *actions]


def outcome(notice: Notice, ended: Outcome, url: str) -> list[dict[str, Any]]:
    """Return what a question becomes: no buttons are left."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(notice.title, _MAX_TITLE)},
        {"type": "section", "text": _plain(ended.sentence, _MAX_TEXT)},
    ]
    if ended.comment:
        blocks.append({"type": "section", "text": _plain(ended.comment, _MAX_TEXT)})
    link = {"type": "mrkdwn", "text": f"<{url}|{escape(_('Open'))}>"}
    return [*blocks, {"type": "context", "elements": [link]}]


def confirm_view(notice: Notice, choice: Choice, metadata: str) -> dict[str, Any]:
    """Return the modal in which an answer is confirmed."""
    text = "\n".join(
        one
        for one in (notice.title, notice.question, choice.consequence or notice.consequence)
        if one
    )
    return {
        "type": "modal",
        "callback_id": VIEW,
        "private_metadata": metadata,
        "title": _plain(choice.label, _MAX_MODAL_TITLE),
        "submit": _plain(choice.label, _MAX_MODAL_TITLE),
        "close": _plain(_("Cancel"), _MAX_MODAL_TITLE),
        "blocks": [
            {"type": "section", "text": _plain(text, _MAX_TEXT)},
            {
                "type": "input",
                "block_id": COMMENT,
                "optional": not choice.needs_comment,
                "label": _plain(_("Comment"), _MAX_BUTTON),
                "element": {
                    "type": "plain_text_input",
                    "action_id": COMMENT,
                    "multiline": True,
                    "max_length": MAX_COMMENT,
                },
            },
        ],
    }


def notice_view(title: str, text: str) -> dict[str, Any]:
    """Return a modal that only says something."""
    return {
        "type": "modal",
        "title": _plain(title, _MAX_MODAL_TITLE),
        "close": _plain(_("Close"), _MAX_MODAL_TITLE),
        "blocks": [{"type": "section", "text": _plain(text, _MAX_TEXT)}],
    }


def escape(text: str) -> str:
    """Return text for where Slack would read marks, mentions and links in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _answer_button(choice: Choice, place: str) -> dict[str, Any]:
    button = {
        "type": "button",
        "action_id": f"{ANSWER}:{choice.name}",
        "text": _plain(choice.label, _MAX_BUTTON),
        "value": f"{place}:{choice.name}",
    }
    style = _STYLES.get(choice.style)
    return {**button, "style": style} if style else button


def _facts(lines: Sequence[Line]) -> list[dict[str, Any]]:
    fields = [_plain(f"{one.label}\n{one.text}", _MAX_FIELD) for one in lines]
    return [
        {"type": "section", "fields": fields[start : start + _MAX_FIELDS]}
        for start in range(0, min(len(fields), 2 * _MAX_FIELDS), _MAX_FIELDS)
    ]


def _plain(text: str, limit: int) -> dict[str, Any]:
    shown = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return {"type": "plain_text", "text": shown, "emoji": False}
