"""Questions and audit trail in Django's admin, to be read."""

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, override

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dashboard.clocks import utc
from dashboard.masking import mask_description
from dashboard.models import (
    AuditEntry,
    AuditLink,
    Decider,
    HumanTask,
    Message,
    WebhookDelivery,
    WebhookEndpoint,
)

if TYPE_CHECKING:

    class _ModelAdmin(admin.ModelAdmin[Any]): ...

    class _TabularInline(admin.TabularInline[Decider, HumanTask]): ...
else:
    _ModelAdmin, _TabularInline = admin.ModelAdmin, admin.TabularInline


class ReadOnlyAdmin(_ModelAdmin):
    """Shows rows to those who may view them; offers no way to write."""

    actions = None

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


class DeciderInline(_TabularInline):
    """Who may answer a question."""

    model = Decider
    fields = ("kind", "name", "user", "group", "is_unknown")
    readonly_fields = ("kind", "name", "user", "group", "is_unknown")
    can_delete = False
    extra = 0

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    @override
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show them with the question."""
        return request.user.has_perm("signoff.view_humantask")


@admin.register(HumanTask)
class HumanTaskAdmin(ReadOnlyAdmin):
    """Questions, newest first."""

    list_display = ["promise_id", "title", "function", "asked", "due", "problem"]
    search_fields = ["promise__id", "title", "origin"]
    ordering = ["-created_at"]
    inlines = [DeciderInline]
    show_full_result_count = False
    exclude = ["description"]
    readonly_fields = ["says"]

    @admin.display(description=_("description"))
    def says(self, task: HumanTask) -> str:
        """Show what describes it, without what is secret."""
        return json.dumps(mask_description(task.description), indent=2, ensure_ascii=False)

    @admin.display(description=_("asked"), ordering="created_at")
    def asked(self, task: HumanTask) -> dt.datetime:
        """Show when it was asked."""
        return utc(task.created_at)

    @admin.display(description=_("due"), ordering="due_at")
    def due(self, task: HumanTask) -> dt.datetime | None:
        """Show by when it should be answered."""
        return None if task.due is None else utc(task.due)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """What was done, newest first."""

    list_display = [
        *("at", "actor_name", "on_behalf_of_name", "action", "answer", "target_kind", "target"),
        *("is_effective", "is_override", "sign_in", "ip"),
    ]
    list_filter = ["action", "target_kind", "is_effective", "is_override", "sign_in"]
    search_fields = ["target", "actor_name", "on_behalf_of_name", "reason"]
    date_hierarchy = "at"
    ordering = ["-at", "-pk"]
    show_full_result_count = False


@admin.register(AuditLink)
class AuditLinkAdmin(ReadOnlyAdmin):
    """The chain of what was done, its end first."""

    list_display = ["position", "entry_id", "hash"]
    ordering = ["-position"]
    show_full_result_count = False


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Webhooks; they are set up on their own pages, and their secrets are shown nowhere."""

    list_display = ["name", "slug", "preset", "action", "is_active"]
    search_fields = ["name", "slug"]
    ordering = ["name"]


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """What came in, newest first."""

    list_display = ["received", "endpoint", "outcome", "status", "event_id", "promise_id"]
    list_filter = ["endpoint", "outcome"]
    search_fields = ["event_id", "promise_id"]
    ordering = ["-pk"]
    show_full_result_count = False

    @admin.display(description=_("received"), ordering="pk")
    def received(self, delivery: WebhookDelivery) -> dt.datetime:
        """Show when it came."""
        return utc(delivery.received_at)


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    """What was sent to whom, and what could not be, newest first."""

    list_display = ["created", "task_id", "event", "channel", "address", "attempts", "problem"]
    list_filter = ["channel", "event"]
    search_fields = ["task__pk", "address"]
    ordering = ["-pk"]
    show_full_result_count = False

    @admin.display(description=_("created"), ordering="pk")
    def created(self, message: Message) -> dt.datetime:
        """Show when it was made."""
        return utc(message.created_at)
