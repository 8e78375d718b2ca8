"""Addresses of the API, to be included under a prefix such as ``api/``."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, path, register_converter, reverse

from dashboard.api import (
    answers,
    audit,
    bulk,
    chat_accounts,
    delegations,
    executions,
    handling,
    links,
    openapi,
    own_tokens,
    preferences,
    saved_views,
    schemas,
    tasks,
    webhook_changes,
    webhooks,
)
from dashboard.api.operations import Operation, nothing_here, operation, view_of
from dashboard.api.routes import PromiseIdConverter, WholePathConverter, to_route

app_name = "signoff_api"

register_converter(PromiseIdConverter, "promise")
register_converter(WholePathConverter, "whole_promise")


@operation("GET", "openapi.json", result=dict[str, Any], is_public=True)
def read_openapi() -> dict[str, Any]:
    """Return the description of the API."""
    root = reverse("signoff_api:read_openapi").removesuffix("openapi.json")
    return openapi.describe(OPERATIONS, root)


OPERATIONS: tuple[Operation, ...] = (
    read_openapi,
    schemas.read_human_task_schema,
    schemas.read_policy_schema,
    tasks.list_tasks,
    tasks.read_task,
    tasks.describe_task,
    tasks.reveal_task,
    answers.answer_task,
    answers.take_back_answer,
    handling.claim_task,
    handling.claim_tasks,
    handling.release_task,
    handling.hand_over_task,
    handling.snooze_task,
    handling.wake_task,
    handling.list_comments,
    handling.add_comment,
    handling.read_draft,
    handling.write_draft,
    handling.delete_draft,
    links.list_links,
    links.make_link,
    links.revoke_links,
    delegations.list_delegations,
    delegations.make_delegation,
    delegations.end_delegation,
    bulk.gather_tasks,
    bulk.read_bulk_answer,
    bulk.start_bulk_answer,
    bulk.stop_bulk_answer,
    bulk.list_bulk_results,
    saved_views.list_views,
    saved_views.keep_view,
    saved_views.name_view,
    saved_views.delete_view,
    saved_views.begin_with_view,
    saved_views.begin_without_view,
    preferences.read_preferences,
    preferences.change_preferences,
    preferences.read_looks,
    preferences.change_looks,
    preferences.list_notifications,
    preferences.change_notifications,
    chat_accounts.list_chat_accounts,
    chat_accounts.link_chat_account,
    chat_accounts.unlink_chat_account,
    own_tokens.list_tokens,
    own_tokens.make_token,
    own_tokens.revoke_token,
    executions.list_all_executions,
    executions.read_execution,
    executions.read_call_tree,
    executions.read_step,
    executions.list_history,
    executions.foresee_cancellation,
    executions.cancel_execution,
    audit.list_audit_entries,
    audit.export_audit_entries,
    webhooks.list_webhooks,
    webhook_changes.make_webhook,
    webhooks.read_webhook,
    webhook_changes.change_webhook,
    webhook_changes.rotate_webhook_secret,
    webhook_changes.retire_webhook_secret,
    webhook_changes.rehearse_webhook,
    webhooks.list_deliveries,
    webhooks.read_delivery,
    webhooks.deliver_again,
)


def _by_path() -> dict[str, dict[str, Operation]]:
    found: dict[str, dict[str, Operation]] = {}
    for one in OPERATIONS:
        found.setdefault(one.path, {})[one.method] = one
    return found


def _routes() -> Iterator[URLPattern]:
    found = _by_path()
    for at, operations in found.items():
        name = next(iter(operations.values())).name
        yield path(to_route(at), view_of(operations), name=name)
    # Clients that do not know how the pages write ids put them into the path as they are.
    task = view_of(found[tasks.read_task.path])
    yield path("human-tasks/<whole_promise:task_id>", task)
    yield path("", nothing_here)
    yield path("<path:rest>", nothing_here)


urlpatterns = list(_routes())
