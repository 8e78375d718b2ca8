"""Webhooks that come in: signed requests of other systems that settle promises or start work."""
