"""A project with a page at an address that the protocol once had."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def show(_request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("schedules/", show)]
