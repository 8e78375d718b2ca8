"""A program that calls the API, with a token or in a session."""

import json
from functools import cache
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from jsonschema import Draft202012Validator

from dashboard.answering import Actor
from dashboard.api import openapi, tokens, urls
from dashboard.question_ids import encode


def token_of(user: User, *, hours: float | None = None, is_read_only: bool = False) -> str:
    from tests.dashboard.people import past

    expires_at = None if hours is None else past(-hours)
    return tokens.make(user, "tests", Actor(user), expires_at=expires_at, is_read_only=is_read_only)


class Program:
    """Calls with a token; answers are checked to be what they say they are."""

    def __init__(self, user: User | None = None, token: str = "", **options: Any) -> None:
        self.user = user
        self.token = token or (token_of(user, **options) if user is not None else "")
        self.client = Client(enforce_csrf_checks=True)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= more.pop("headers", {})
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        more = {"content_type": "application/json"} | more
        response = self.client.generic(
            method, f"/api/{path}", "" if body is None else data, headers=headers, **more
        )
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json", response.content
            assert response.json()["status"] == response.status_code
        check_described(method, response)
        return response

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, QUERY_STRING=_query(query))

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        if body is None:
            more = {"content_type": "application/octet-stream"} | more
        return self.call("POST", path, body, **more)

    def put(self, path: str, body: Any, **more: Any) -> Any:
        return self.call("PUT", path, body, **more)

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)

    def describe(self, promise_id: str, **description: Any) -> Any:
        described = {"schema": 1, "title": f"Title of {promise_id}"} | description
        return self.put(f"human-tasks/{encode(promise_id)}", described)

    def answer(self, promise_id: str, answer: str = "approve", **more: Any) -> Any:
        path = f"human-tasks/{encode(promise_id)}/answer"
        return self.post(path, {"answer": answer} | more)


def check_described(method: str, response: Any) -> None:
    """Check that a response is one of those that the OpenAPI document has for its operation."""
    named = {one.name: one.path for one in urls.OPERATIONS}
    match = response.resolver_match
    path = named.get(match.url_name)
    if path is None and "task_id" in match.kwargs:  # the id as it is, with its slashes
        path = named["read_task"]
    described = _document()["paths"].get(f"/{path}", {})
    wanted = described.get("get" if method == "HEAD" else method.lower())
    if wanted is None:  # no path of the API, or no method of it
        assert response.status_code in {404, 405}
        return
    assert str(response.status_code) in wanted["responses"], (path, response.status_code)
    content = wanted["responses"][str(response.status_code)].get("content")
    if content is None:
        assert response.content == b""
        return
    kind = response["Content-Type"].partition(";")[0]
    assert kind in content
    if kind.endswith("json") and method != "HEAD":
        _validator(json.dumps(content[kind]["schema"])).validate(response.json())


@cache
def _document() -> dict[str, Any]:
    return openapi.describe(urls.OPERATIONS, "/api/")


@cache
def _validator(schema: str) -> Draft202012Validator:
    whole = json.loads(schema) | {"components": _document()["components"]}
    return Draft202012Validator(whole)


def _query(given: dict[str, Any]) -> str:
    from urllib.parse import urlencode

    return urlencode(given, doseq=True)
