"""The form in which an endpoint is set up: every field is checked here, with plain words."""

import ipaddress
import json
import re
from typing import Any, cast, override

from django import forms
from django.utils.translation import gettext_lazy as _

from dashboard.descriptions.reading import DescriptionError
from dashboard.models import Preset, WebhookAction, WebhookEndpoint
from dashboard.webhooks.examples import example
from dashboard.webhooks.mapping import read_settle, read_start
from dashboard.webhooks.paths import Template
from dashboard.webhooks.presets import PRESETS
from dashboard.webhooks.rehearsing import parse_headers
from dashboard.webhooks.signatures import ALGORITHMS, BODY, ENCODINGS, TIMESTAMP, Scheme
from durable.conf import database_alias

RESERVED = frozenset({"new"})
"""What stands where the end of an address does, in the pages."""
DEFAULT_MAX_BYTES = 1024 * 1024
LARGEST = 25 * 1024 * 1024
"""What GitHub sends at most."""
MAX_TOLERANCE = 86_400
MIN_SECRET = 8
MAX_NETWORKS = 200

_HEADER = re.compile(r"[A-Za-z0-9-]+")
_TIMESTAMP = re.compile(r"[A-Za-z0-9-]+=?")
_SIGNATURE = (
    "signature_header",
    "algorithm",
    "encoding",
    "signature_prefix",
    "signed",
    "timestamp",
)

type Values = dict[str, Any]


class KindForm(forms.Form):
    """Who sends, and what for: decides what the rest of the form is."""

    preset = forms.ChoiceField(label=_("Who sends"), choices=Preset, widget=forms.RadioSelect)
    action = forms.ChoiceField(
        label=_("What it does"), choices=WebhookAction, widget=forms.RadioSelect
    )


def _code(**attributes: Any) -> dict[str, Any]:
    return {"spellcheck": "false", "autocomplete": "off", "autocapitalize": "off"} | attributes


class EndpointForm(forms.Form):
    """An endpoint. How requests are signed is asked only for senders that are not known here."""

    name = forms.CharField(label=_("Name"), max_length=100)
    slug = forms.SlugField(
        label=_("End of its address"),
        max_length=100,
        help_text=_("Letters, digits and dashes: the address ends with /hooks/…/"),
        widget=forms.TextInput(_code()),
    )
    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        max_length=500,
        widget=forms.TextInput(_code()),
    )
    signature_header = forms.CharField(
        label=_("Header with the signature"), max_length=100, widget=forms.TextInput(_code())
    )
    algorithm = forms.ChoiceField(
        label=_("Algorithm"), choices=[(one, f"HMAC {one.upper()}") for one in ALGORITHMS]
    )
    encoding = forms.ChoiceField(label=_("Written as"), choices=[(one, one) for one in ENCODINGS])
    signature_prefix = forms.CharField(
        label=_("Begins with"),
        required=False,
        max_length=50,
        help_text=_("What stands before the signature in its header, such as sha256="),
        widget=forms.TextInput(_code()),
    )
    signed = forms.CharField(
        label=_("What is signed"),
        max_length=200,
        help_text=_("{body} alone, or with the time: {timestamp}.{body}"),
        widget=forms.TextInput(_code()),
    )
    timestamp = forms.CharField(
        label=_("Header with the time"),
        required=False,
        max_length=100,
        help_text=_("With seconds since 1970. Or t= when it is a part of the signature's header."),
        widget=forms.TextInput(_code()),
    )
    tolerance_s = forms.IntegerField(
        label=_("Time window in seconds"),
        min_value=1,
        max_value=MAX_TOLERANCE,
        help_text=_("Requests that were signed longer ago are refused."),
    )
    event_id = forms.CharField(
        label=_("Id of an event"),
        required=False,
        max_length=300,
        help_text=_(
            "What the sender numbers its events by, as {header:X-Event-Id} or {id}: what comes "
            "again with the same id is not acted upon again. Empty: requests with the same body "
            "are the same event."
        ),
        widget=forms.TextInput(_code()),
    )
    mapping = forms.CharField(
        label=_("What an event does"),
        max_length=20_000,
        widget=forms.Textarea(_code(rows=22)),
    )
    networks = forms.CharField(
        label=_("Addresses that may send"),
        required=False,
        help_text=_("One address or network a line, such as 192.30.252.0/22. Empty: all may."),
        widget=forms.Textarea(_code(rows=3)),
    )
    max_bytes = forms.IntegerField(label=_("Longest body in bytes"), min_value=1, max_value=LARGEST)
    is_active = forms.BooleanField(label=_("Switched on"), required=False)

    def __init__(
        self,
        preset: str,
        action: str,
        data: Any = None,
        *,
        endpoint: WebhookEndpoint | None = None,
    ) -> None:
        """``endpoint`` is the one to change; without it a new one is made."""
        self.preset, self.action, self.endpoint = preset, action, endpoint
        self.known = PRESETS[preset]
        super().__init__(data, initial=self._begin() if endpoint is None else _values_of(endpoint))
        if preset != Preset.GENERIC:
            for name in _SIGNATURE:
                del self.fields[name]
            if not self.known.scheme.timestamp:
                del self.fields["tolerance_s"]
        if endpoint is not None:
            del self.fields["secret"]
        else:
            del self.fields["is_active"]
            self.fields["secret"].required = self.known.brings_secret
            self.fields["secret"].help_text = (
                _("The sender shows it: paste it here. It is never shown again.")
                if self.known.brings_secret
                else _("Empty: one is made, and shown once.")
            )

    def _begin(self) -> Values:
        scheme = self.known.scheme
        mapping = example(self.preset, self.action)
        return _from_scheme(scheme) | {
            "event_id": self.known.event_id,
            "mapping": json.dumps(mapping, indent=2, ensure_ascii=False),
            "max_bytes": DEFAULT_MAX_BYTES,
        }

    @property
    def columns(self) -> Values:
        """What the row of the endpoint says, once the form is valid."""
        scheme = {} if self.preset == Preset.GENERIC else _from_scheme(self.known.scheme)
        given = {name: value for name, value in self.cleaned_data.items() if name != "secret"}
        return scheme | given

    def clean_slug(self) -> str:
        """Refuse what is taken."""
        slug: str = self.cleaned_data["slug"].lower()
        if slug in RESERVED:
            raise forms.ValidationError(_("This word is taken."))
        others = WebhookEndpoint.objects.using(database_alias()).filter(slug=slug)
        if self.endpoint is not None:
            others = others.exclude(pk=self.endpoint.pk)
        if others.exists():
            raise forms.ValidationError(_("Another webhook has this address."))
        return slug

    def clean_secret(self) -> str:
        """Refuse what can be guessed."""
        secret: str = self.cleaned_data["secret"]
        if secret and len(secret) < MIN_SECRET:
            raise forms.ValidationError(
                _("A secret has at least %(count)d characters.") % {"count": MIN_SECRET}
            )
        return secret

    def clean_signature_header(self) -> str:
        """Refuse what is no name of a header."""
        name: str = self.cleaned_data["signature_header"]
        if not _HEADER.fullmatch(name):
            raise forms.ValidationError(_("A header's name has letters, digits and dashes."))
        return name

    def clean_timestamp(self) -> str:
        """Refuse what is neither a header nor the beginning of a part of one."""
        name: str = self.cleaned_data["timestamp"]
        if name and not _TIMESTAMP.fullmatch(name):
            raise forms.ValidationError(_("Name a header, or write t= for a part of one."))
        return name

    def clean_signed(self) -> str:
        """Refuse what leaves the body out."""
        signed: str = self.cleaned_data["signed"]
        rest = signed.replace(TIMESTAMP, "")
        if rest.count(BODY) != 1 or any(brace in rest.replace(BODY, "") for brace in "{}"):
            raise forms.ValidationError(
                _("Write {body} once, with {timestamp} or other text beside it.")
            )
        return signed

    def clean_event_id(self) -> str:
        """Refuse what does not tell events apart."""
        text: str = self.cleaned_data["event_id"]
        if not text:
            return ""
        template = _checked(Template.read, text, "event_id")
        if not template.paths or any(path.is_event_id for path in template.paths):
            raise forms.ValidationError(
                _("Say in braces where the id is, such as {header:X-Event-Id} or {id}.")
            )
        return text

    def clean_mapping(self) -> Any:
        """Refuse what is no mapping, and say where."""
        try:
            mapping = json.loads(self.cleaned_data["mapping"])
        except ValueError as error:
            raise forms.ValidationError(
                _("This is not JSON: %(problem)s") % {"problem": error}
            ) from None
        except RecursionError:
            raise forms.ValidationError(_("This is nested too deep.")) from None
        _checked(read_start if self.action == WebhookAction.START else read_settle, mapping, "")
        return mapping

    def clean_networks(self) -> list[str]:
        """Read lines of addresses."""
        lines = [one.strip() for one in self.cleaned_data["networks"].splitlines()]
        found = []
        for line in filter(None, lines):
            try:
                found.append(str(ipaddress.ip_network(line, strict=False)))
            except ValueError:
                raise forms.ValidationError(
                    _("%(line)s is neither an address nor a network.") % {"line": line}
                ) from None
        if len(found) > MAX_NETWORKS:
            raise forms.ValidationError(_("These are too many."))
        return found

    @override
    def clean(self) -> Values:
        given = cast("Values", super().clean())
        signed, timestamp = given.get("signed"), given.get("timestamp")
        if signed is not None and timestamp is not None:
            if timestamp and TIMESTAMP not in signed:
                problem = _("A time that is not signed can be changed: write {timestamp} as well.")
                self.add_error("signed", problem)
            if not timestamp and TIMESTAMP in signed:
                self.add_error("timestamp", _("Say where the time is."))
        return given


class SecretForm(forms.Form):
    """The next secret; ``newest`` says which one the person saw."""

    secret = EndpointForm.base_fields["secret"]
    newest = forms.IntegerField(widget=forms.HiddenInput)

    clean_secret = EndpointForm.clean_secret

    def __init__(self, endpoint: WebhookEndpoint, newest: int, data: Any = None) -> None:
        """``newest`` is the id of the secret that was made last."""
        super().__init__(data, initial={"newest": newest})
        if PRESETS[endpoint.preset].brings_secret:
            self.fields["secret"].required = True
            self.fields["secret"].help_text = _("The sender shows it: paste it here.")
        else:
            self.fields["secret"].help_text = _("Empty: one is made, and shown once.")


class RequestForm(forms.Form):
    """A request that somebody pastes."""

    headers = forms.CharField(
        label=_("Headers"),
        required=False,
        max_length=20_000,
        help_text=_("One a line, as in X-GitHub-Event: push"),
        widget=forms.Textarea(_code(rows=5)),
    )
    body = forms.CharField(
        label=_("Body"), strip=False, max_length=500_000, widget=forms.Textarea(_code(rows=12))
    )

    def clean_headers(self) -> dict[str, str]:
        """Read the lines."""
        try:
            return parse_headers(self.cleaned_data["headers"])
        except ValueError as error:
            raise forms.ValidationError(
                _("%(line)s is not of the form Name: value") % {"line": error}
            ) from None


def _from_scheme(scheme: Scheme) -> Values:
    return {
        "signature_header": scheme.header,
        "algorithm": scheme.algorithm,
        "encoding": scheme.encoding,
        "signature_prefix": scheme.prefix,
        "signed": scheme.signed,
        "timestamp": scheme.timestamp,
        "tolerance_s": scheme.tolerance,
    }


def _values_of(endpoint: WebhookEndpoint) -> Values:
    return _from_scheme(endpoint.scheme) | {
        "name": endpoint.name,
        "slug": endpoint.slug,
        "event_id": endpoint.event_id,
        "mapping": json.dumps(endpoint.mapping, indent=2, ensure_ascii=False),
        "networks": "\n".join(endpoint.networks),
        "max_bytes": endpoint.max_bytes,
        "is_active": endpoint.is_active,
    }


def _checked(read: Any, value: Any, path: str) -> Any:
    try:
        return read(value, path or "mapping")
    except DescriptionError as error:
        raise forms.ValidationError(str(error)) from None
