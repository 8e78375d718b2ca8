"""How somebody likes the pages to behave."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Preference(models.Model):
    """One row a user; without one everything is as usual."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    has_single_keys = models.BooleanField(default=True, help_text=_("Single letters do something."))
    advances = models.BooleanField(
        default=False, help_text=_("After an answer the next question opens by itself.")
    )
    is_compact = models.BooleanField(default=False, help_text=_("Cards are low, more fit."))

    class Meta:
        verbose_name = _("preference")
        verbose_name_plural = _("preferences")
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.user_id)
