"""Addresses of the inbox, to be included in the namespace ``signoff``."""

from django.urls import path, register_converter

from dashboard import question_ids
from dashboard.views import inbox, tasks


class QuestionIdConverter:
    """An id as one segment of a path, whatever characters it has."""

    regex = question_ids.PATTERN
    to_python = staticmethod(question_ids.decode)
    to_url = staticmethod(question_ids.encode)


register_converter(QuestionIdConverter, "question")

urlpatterns = [
    path("inbox/", inbox.show, name="inbox"),
    path("inbox/badge/", inbox.badge, name="inbox_badge"),
    path("inbox/changes/", inbox.changes, name="inbox_changes"),
    path("inbox/<question:promise_id>/", tasks.show, name="task"),
    path("inbox/<question:promise_id>/decide/", tasks.decide, name="decide"),
    path("inbox/<question:promise_id>/state/", tasks.state, name="task_state"),
    # An id that was put into a path by other rules, of which browsers and servers know many.
    path("inbox/<path:promise_id>/", tasks.find, name="find_task"),
]
