"""What the people's side keeps beside promises: questions, who may answer, what was done."""

from dashboard.models.api_token import ApiToken
from dashboard.models.audit import (
    ANSWERS,
    DECISIONS,
    ENDINGS,
    Action,
    AuditEntry,
    AuditLink,
    SignIn,
    TargetKind,
)
from dashboard.models.bulk import BulkItem, BulkJob
from dashboard.models.delegation import Delegation
from dashboard.models.draft import Comment, Draft
from dashboard.models.held import HeldAnswer
from dashboard.models.human_task import NO_DUE, Decider, HumanTask
from dashboard.models.link import DecisionLink
from dashboard.models.message import ChatIdentity, Message, MessageEvent, NotificationPreference
from dashboard.models.preference import Preference
from dashboard.models.saved_view import DefaultView, Place, SavedView
from dashboard.models.snooze import Snooze
from dashboard.models.timing import Attendance, TaskMoment
from dashboard.models.vote import Vote
from dashboard.models.webhook import (
    Preset,
    WebhookAction,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookSecret,
)

__all__ = [
    "ANSWERS",
    "DECISIONS",
    "ENDINGS",
    "NO_DUE",
    "Action",
    "ApiToken",
    "Attendance",
    "AuditEntry",
    "AuditLink",
    "BulkItem",
    "BulkJob",
    "ChatIdentity",
    "Comment",
    "Decider",
    "DecisionLink",
    "DefaultView",
    "Delegation",
    "Draft",
    "HeldAnswer",
    "HumanTask",
    "Message",
    "MessageEvent",
    "NotificationPreference",
    "Place",
    "Preference",
    "Preset",
    "SavedView",
    "SignIn",
    "Snooze",
    "TargetKind",
    "TaskMoment",
    "Vote",
    "WebhookAction",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookSecret",
]
