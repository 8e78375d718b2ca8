"""Files in answers: small ones, kept in the value itself as ``{name, type, base64}``."""

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from django.core.exceptions import ValidationError
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

MAX_FILE = 256 * 1024
MAX_NAME = 255
KEPT = "~kept"
"""Behind the name of an input: that of the one which carries its file along."""
MAX_TYPE = 100
_KEYS = {"name", "type", "base64"}


def read_upload(upload: "UploadedFile[Any]", accept: str = "") -> dict[str, str]:
    """Return the value of a file that was sent; raises ``ValidationError``."""
    if (upload.size or 0) > MAX_FILE:
        raise ValidationError(
            _("The file is too large: %(size)s at most."),
            code="max_size",
            params={"size": filesizeformat(MAX_FILE)},
        )
    value = {
        "name": (upload.name or "")[-MAX_NAME:].replace("\0", ""),
        "type": (upload.content_type or "application/octet-stream")[:MAX_TYPE],
        "base64": base64.b64encode(upload.read()).decode(),
    }
    _check_type(value, accept)
    return value


def read_kept(text: str, accept: str = "") -> dict[str, str]:
    """Return the value of a file that was sent before and came back with the form."""
    problem = ValidationError(_("Choose the file again."), code="kept")
    try:
        value = msgspec.json.decode(text, type=dict[str, str])
        size = len(base64.b64decode(value["base64"], validate=True))
    except (msgspec.DecodeError, binascii.Error, KeyError, ValueError):
        raise problem from None
    is_whole = value.keys() == _KEYS and size <= MAX_FILE
    if not is_whole or len(value["name"]) > MAX_NAME or len(value["type"]) > MAX_TYPE:
        raise problem
    _check_type(value, accept)
    return value


def to_kept(value: Any) -> str:
    """Return a file as the form carries it along."""
    return msgspec.json.encode(value).decode()


def with_contents(value: Any, files: Sequence[Any]) -> Any:
    """Return a copy of a value in which these files are bytes: what is in them."""
    if isinstance(value, dict):
        if value.keys() == _KEYS and any(value is one for one in files):
            return base64.b64decode(value["base64"])
        return {key: with_contents(one, files) for key, one in value.items()}
    return [with_contents(one, files) for one in value] if isinstance(value, list) else value


def _check_type(value: dict[str, str], accept: str) -> None:
    if accept and value["type"] != accept:
        raise ValidationError(
            _("Choose a file of the type %(type)s."), code="type", params={"type": accept}
        )
