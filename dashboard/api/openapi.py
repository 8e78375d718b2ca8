"""Describes the API as OpenAPI 3.1, from the declarations that route and check its requests."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.db import models

from dashboard.api.operations import JSON, Operation
from dashboard.api.problems import CONTENT_TYPE, Problem
from dashboard.api.routes import PARAMETERS, names_in

VERSION = "1"
_COMPONENTS = "#/components/schemas/{name}"
_REASONS: Mapping[int, str] = {
    400: "The body is not JSON.",
    401: "No token and no session, or one that does not count.",
    403: "Refused; the sentence says why.",
    404: "There is nothing, or nothing for who asks.",
    409: "Too late, or in conflict with what is there.",
    413: "The body is too large.",
    415: "The body is of another content type.",
    422: "A value is wrong; all that is wrong is listed with its path.",
}
_GOOD: Mapping[int, str] = {
    200: "Done.",
    201: "Made.",
    202: "Held.",
    204: "Done; there is nothing to say.",
}


def describe(operations: Iterable[Operation], root: str) -> dict[str, Any]:
    """Return the document; ``root`` is where the API is mounted."""
    found = list(operations)
    types = _types_of(found)
    refs, components = msgspec.json.schema_components(
        types, schema_hook=_schema_of_choices, ref_template=_COMPONENTS
    )
    schemas = dict(zip(map(repr, types), refs, strict=True))
    paths: dict[str, Any] = {}
    for one in found:
        paths.setdefault(f"/{one.path}", {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Signoff",
            "version": VERSION,
            "description": "What the pages can do, under the same rights.",
        },
        "servers": [{"url": root.rstrip("/")}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": settings.SESSION_COOKIE_NAME,
                    "description": "What changes something also needs the header X-CSRFToken.",
                },
            },
        },
    }


def _types_of(operations: Sequence[Operation]) -> list[Any]:
    types: dict[str, Any] = {repr(Problem): Problem}
    for one in operations:
        for kind in (one.body, one.result):
            if kind is not None:
                types[repr(kind)] = kind
    return list(types.values())


def _operation(one: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "tags": [one.path.partition("/")[0]],
        "parameters": [*_path_parameters(one), *_query_parameters(one)],
        "responses": _responses(one, schemas),
    }
    if one.is_public:
        described["security"] = []
    if one.permission:
        described["description"] = f"Takes the permission `{one.permission}`."
    if one.body is not None:
        schema = one.body_schema or schemas[repr(one.body)]
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return described


def _schema_of_choices(kind: type) -> dict[str, Any]:
    """Return the schema of what Django has for enumerations."""
    if issubclass(kind, models.TextChoices):
        return {"type": "string", "enum": list(kind.values)}
    raise NotImplementedError


def _path_parameters(one: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETERS[name].description,
            "schema": PARAMETERS[name].schema,
        }
        for name in names_in(one.path)
    ]


def _query_parameters(one: Operation) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    whole = msgspec.json.schema(
        one.query, schema_hook=_schema_of_choices, ref_template="#/$defs/{name}"
    )
    defined = whole["$defs"]
    schema = defined[one.query.__name__]
    return [
        {"name": name, "in": "query", "required": False, "schema": _inlined(part, defined)}
        for name, part in schema["properties"].items()
    ]


def _inlined(schema: Any, defined: Mapping[str, Any]) -> Any:
    """Put what a schema refers to in its place: enumerations, which refer to nothing."""
    if isinstance(schema, list):
        return [_inlined(one, defined) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {key: one for key, one in schema.items() if key != "$ref"}
        return defined[schema["$ref"].rpartition("/")[2]] | rest
    return {key: _inlined(one, defined) for key, one in schema.items()}


def _responses(one: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in one.statuses:
        found[str(status)] = {"description": _GOOD[status]}
        if one.files:
            text = {"schema": {"type": "string"}}
            found[str(status)]["content"] = dict.fromkeys(one.files, text)
        elif one.result is not None:
            schema = schemas[repr(one.result)]
            found[str(status)]["content"] = {JSON: {"schema": schema}}
    problem = {"content": {CONTENT_TYPE: {"schema": schemas[repr(Problem)]}}}
    for status in sorted(one.all_refusals):
        found[str(status)] = {"description": _REASONS[status]} | problem
    return found
