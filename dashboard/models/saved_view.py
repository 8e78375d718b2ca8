"""Filters of a list under a name, and which of them somebody sees first."""

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Place(models.TextChoices):
    """The lists that have saved views."""

    INBOX = "inbox", _("Inbox")
    EXECUTIONS = "executions", _("Executions")


class SavedView(models.Model):
    """A query string of a list: its owner's alone, or shared with a group or with all.

    It says what to ask for and gives no right to see any of it.
    """

    id = models.BigAutoField(primary_key=True)
    place = models.TextField(choices=Place, default=Place.INBOX)
    name = models.TextField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey(Group, null=True, on_delete=models.SET_NULL, related_name="+")
    is_for_all = models.BooleanField(default=False, help_text=_("Shared with everybody."))
    query = models.TextField()
    made_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        default_permissions = ()
        permissions: ClassVar = [("share_views", _("Can share saved views with everybody"))]
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_view_once", fields=["owner", "place", "name"]),
            models.CheckConstraint(
                name="signoff_view_one_audience",
                condition=Q(group__isnull=True) | Q(is_for_all=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                name="signoff_view_for_all", fields=["place"], condition=Q(is_for_all=True)
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DefaultView(models.Model):
    """The view that somebody sees when they open a list; it may be one that others share."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    place = models.TextField(choices=Place)
    view = models.ForeignKey(SavedView, on_delete=models.CASCADE, related_name="defaults")

    class Meta:
        verbose_name = _("first view")
        verbose_name_plural = _("first views")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_default_view_once", fields=["user", "place"]),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.place}"
