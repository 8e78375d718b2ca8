"""Addresses of webhooks and their pages, to be included in the namespace ``signoff``."""

from django.urls import path

from dashboard.views import hooks, webhooks

urlpatterns = [
    path("hooks/<slug:slug>/", hooks.hook, name="hook"),
    path("webhooks/", webhooks.index, name="webhooks"),
    path("webhooks/new/", webhooks.new, name="new_webhook"),
    path("webhooks/<slug:slug>/", webhooks.show, name="webhook"),
    path("webhooks/<slug:slug>/edit/", webhooks.edit, name="edit_webhook"),
    path("webhooks/<slug:slug>/test/", webhooks.test, name="test_webhook"),
    path("webhooks/<slug:slug>/secrets/", webhooks.rotate, name="rotate_webhook"),
    path(
        "webhooks/<slug:slug>/secrets/<int:secret_id>/retire/",
        webhooks.retire,
        name="retire_webhook_secret",
    ),
    path(
        "webhooks/<slug:slug>/deliveries/<int:delivery_id>/",
        webhooks.delivery,
        name="webhook_delivery",
    ),
    path(
        "webhooks/<slug:slug>/deliveries/<int:delivery_id>/again/",
        webhooks.deliver_again,
        name="deliver_webhook_again",
    ),
]
