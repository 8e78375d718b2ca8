"""Tokens with which programs act in the name of a person. Instants are epoch ms."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class ApiToken(models.Model):
    """A token of one person: shown once, kept as a hash. Tokens are revoked, never deleted."""

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="signoff_tokens"
    )
    name = models.TextField(help_text=_("What it is for."))
    digest = models.TextField(unique=True, help_text=_("SHA-256 of the token."))
    hint = models.TextField(help_text=_("Its last characters."))
    is_read_only = models.BooleanField(default=False)
    made_at = models.BigIntegerField()
    expires_at = models.BigIntegerField(null=True)
    last_used_at = models.BigIntegerField(null=True, help_text=_("To the minute."))
    revoked_at = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        default_permissions = ("view",)
        permissions: ClassVar = [("manage_tokens", _("Can revoke anybody's API tokens"))]
        indexes: ClassVar = [models.Index(name="signoff_token_owner", fields=["owner", "-id"])]

    def __str__(self) -> str:
        return f"{self.name} …{self.hint}"
