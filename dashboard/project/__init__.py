"""The composition root: settings, root URLs and the ASGI application."""
