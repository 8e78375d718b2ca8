"""Questions and audit trail in Django's admin, to be read."""

import datetime as dt
from typing import TYPE_CHECKING, Any, override

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dashboard.models import AuditEntry, Decider, HumanTask

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

    @admin.display(description=_("asked"), ordering="created_at")
    def asked(self, task: HumanTask) -> dt.datetime:
        """Show when it was asked."""
        return _moment(task.created_at)

    @admin.display(description=_("due"), ordering="due_at")
    def due(self, task: HumanTask) -> dt.datetime | None:
        """Show by when it should be answered."""
        return None if task.due is None else _moment(task.due)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """What was done, newest first."""

    list_display = ["at", "actor_name", "action", "target", "is_effective", "sign_in", "ip"]
    list_filter = ["action", "is_effective", "sign_in"]
    search_fields = ["target", "actor_name"]
    date_hierarchy = "at"
    ordering = ["-at", "-pk"]
    show_full_result_count = False


def _moment(instant_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(instant_ms / 1000, tz=dt.UTC)
