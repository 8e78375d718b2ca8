"""Filters of the inbox under a name."""

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.utils.translation import gettext_lazy as _


class SavedView(models.Model):
    """A query string of the inbox; shared with a group, or private without one."""

    id = models.BigAutoField(primary_key=True)
    name = models.TextField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey(Group, null=True, on_delete=models.CASCADE, related_name="+")
    query = models.TextField()
    made_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_view_once", fields=["owner", "name"]),
        ]

    def __str__(self) -> str:
        return self.name
