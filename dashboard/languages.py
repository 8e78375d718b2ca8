"""Which languages the pages can be read in."""

import gettext
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.utils.translation import get_language_info, to_locale

_OWN = Path(__file__).parent / "locale"
_WRITTEN_IN = "en"


def choices() -> list[tuple[str, str]]:
    """Return the codes of LANGUAGES of which there is a catalogue, with their own names.

    There are none where nothing would heed the choice.
    """
    if not any(name.endswith("LocaleMiddleware") for name in settings.MIDDLEWARE):
        return []
    folders = (*map(str, settings.LOCALE_PATHS), str(_OWN))
    return [
        (code, _name_of(code, str(name)))
        for code, name in settings.LANGUAGES
        if _is_known(code, folders)
    ]


@lru_cache
def _is_known(code: str, folders: tuple[str, ...]) -> bool:
    if code.partition("-")[0] == _WRITTEN_IN:
        return True
    locales = [to_locale(code), code.partition("-")[0]]
    return any(gettext.find("django", folder, locales) for folder in folders)


def _name_of(code: str, name: str) -> str:
    try:
        return str(get_language_info(code)["name_local"])
    except KeyError:  # a language that Django does not know
        return name
