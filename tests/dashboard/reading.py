"""Reads what stands on a page."""

import re
from html import unescape

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


def html(response):
    assert response.status_code == 200, response.content
    return response.content.decode()


def text(markup):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def lines(client, query=""):
    """Id, status and sentence of each line of the list."""
    page = html(client.get(f"/executions/{query}"))
    rows = re.findall(r'<tr id="execution-.*?</tr>', page, re.DOTALL)
    return {
        re.search(r'title="([^"]*)"', row)[1]: (
            text(re.search(r'<td class="status">(.*?)</td>', row, re.DOTALL)[1]),
            text(re.search(r'<td class="why">(.*?)</td>', row, re.DOTALL)[1]),
        )
        for row in rows
    }


def banner(client, execution_id):
    page = html(client.get(f"/executions/{execution_id}/"))
    return text(re.search(r'<section class="banner.*?</section>', page, re.DOTALL)[0])
