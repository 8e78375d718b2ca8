"""Addresses of the inbox, to be included in the namespace ``signoff``."""

from django.urls import path, register_converter

from dashboard import question_ids
from dashboard.views import (
    away,
    bulk,
    handling,
    inbox,
    links,
    preferences,
    saved_views,
    snoozing,
    tasks,
    ticked,
)


class QuestionIdConverter:
    """An id as one segment of a path, whatever characters it has."""

    regex = question_ids.PATTERN
    to_python = staticmethod(question_ids.decode)
    to_url = staticmethod(question_ids.encode)


register_converter(QuestionIdConverter, "question")

urlpatterns = [
    path("inbox/", inbox.show, name="inbox"),
    path("away/", away.away, name="away"),
    path("away/<int:delegation_id>/end/", away.end, name="end_away"),
    path("preferences/", preferences.show, name="preferences"),
    path("views/", saved_views.index, name="views"),
    path("views/save/", saved_views.save, name="save_view"),
    path("views/<int:view_id>/", saved_views.change, name="view"),
    path("views/<int:view_id>/first/", saved_views.first, name="first_view"),
    path("views/<int:view_id>/delete/", saved_views.delete, name="delete_view"),
    path("link/<str:token>/", links.follow, name="link"),
    path("answers/", bulk.choose, name="choose_bulk"),
    path("answers/claim/", ticked.claim, name="claim_ticked"),
    path("answers/<uuid:job_id>/", bulk.show, name="bulk"),
    path("answers/<uuid:job_id>/stop/", bulk.stop, name="stop_bulk"),
    path("answers/<uuid:job_id>/results/", bulk.download, name="download_bulk"),
    path("inbox/badge/", inbox.badge, name="inbox_badge"),
    path("inbox/changes/", inbox.changes, name="inbox_changes"),
    path("inbox/<question:promise_id>/", tasks.show, name="task"),
    path("inbox/<question:promise_id>/decide/", tasks.decide, name="decide"),
    path("inbox/<question:promise_id>/take-back/", tasks.take_back, name="take_back"),
    path("inbox/<question:promise_id>/state/", tasks.state, name="task_state"),
    path("inbox/<question:promise_id>/claim/", handling.claim, name="claim"),
    path("inbox/<question:promise_id>/release/", handling.release, name="release"),
    path("inbox/<question:promise_id>/hand-over/", handling.hand_over, name="hand_over"),
    path("inbox/<question:promise_id>/comment/", handling.comment, name="comment"),
    path("inbox/<question:promise_id>/snooze/", snoozing.snooze, name="snooze"),
    path("inbox/<question:promise_id>/wake/", snoozing.wake, name="wake"),
    path("inbox/<question:promise_id>/link/", links.make, name="make_link"),
    path("inbox/<question:promise_id>/unlink/", links.revoke, name="revoke_links"),
    path("inbox/<question:promise_id>/reveal/", handling.reveal, name="reveal"),
    path("inbox/<question:promise_id>/draft/", handling.draft, name="draft"),
    # An id that was put into a path by other rules, of which browsers and servers know many.
    path("inbox/<path:promise_id>/", tasks.find, name="find_task"),
]
