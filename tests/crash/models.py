"""Effects that must happen exactly once."""

from django.db import models


class Effect(models.Model):
    execution = models.TextField()
    name = models.TextField()
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.execution} {self.name}"
