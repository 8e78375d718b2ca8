"""The audit trail as a page to search, and as downloads."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.audit_queries import FORMATS, Cursor, Filters, export, list_entries
from dashboard.models import Action, SignIn
from dashboard.permissions import SETTLE_ANY, VIEW_AUDIT, VIEW_EXECUTIONS, has
from dashboard.views.inbox import for_holders_of, wants_fragment
from durable.clock import now_ms

TEMPLATE = "dashboard/audit/list.html"

for_auditors = for_holders_of(VIEW_AUDIT)


@for_auditors
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List entries, newest first."""
    filters = Filters.parse(request.GET)
    older = Cursor.parse(request.GET.get("older", ""))
    newer = Cursor.parse(request.GET.get("newer", ""))
    context = {
        "section": "audit",
        "now": now_ms(),
        "filters": filters,
        "actions": Action,
        "sign_ins": SignIn,
        "page": list_entries(filters, older=older, newer=newer),
        "query": filters.query().urlencode(),
        "is_first": older is None and newer is None,
        "may_answer": has(request.user, SETTLE_ANY),
        "may_see_runs": has(request.user, VIEW_EXECUTIONS),
    }
    if not wants_fragment(request):
        return render(request, TEMPLATE, context)
    response = render(request, f"{TEMPLATE}#entries", context)
    if request.headers.get("HX-Source") == "form#filters":
        response["HX-Push-Url"] = f"{request.path}?{context['query']}".rstrip("?")
    return response


@for_auditors
@require_safe
def download(request: HttpRequest, form: str) -> StreamingHttpResponse:
    """Send all entries that match the filters."""
    if form not in FORMATS:
        raise Http404
    return send(request, Filters.parse(request.GET), form)


def send(request: HttpRequest, filters: Filters, form: str) -> StreamingHttpResponse:
    """Return a file of all entries that match, which is sent as they are read."""
    chunks = export(filters, FORMATS[form])
    return StreamingHttpResponse(
        _in_thread(chunks) if isinstance(request, ASGIRequest) else chunks,
        content_type=FORMATS[form].content_type,
        headers={"Content-Disposition": f'attachment; filename="audit.{form}"'},
    )


async def _in_thread(chunks: Iterator[str]) -> AsyncIterator[str]:
    """Read piece by piece where the database may be asked: the server does other things between."""
    following = sync_to_async(lambda: next(chunks, None))
    while (chunk := await following()) is not None:
        yield chunk
