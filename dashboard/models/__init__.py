"""What the people's side keeps beside promises: questions, who may answer, what was done."""

from dashboard.models.audit import Action, AuditEntry, SignIn
from dashboard.models.human_task import NO_DUE, Decider, HumanTask

__all__ = ["NO_DUE", "Action", "AuditEntry", "Decider", "HumanTask", "SignIn"]
