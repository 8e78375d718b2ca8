"""The ASGI application: gateway and event streams beside Django's handler, which is slow for them.

``POST /`` and ``GET /poll/…`` are the gateway's, ``GET /`` is the dashboard's.

Served with ``lifespan="off"``: Django has no handler for it.
"""

import os

from django.core.asgi import get_asgi_application
from django.core.signals import request_finished

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.project.settings")

django_application = get_asgi_application()

# These import models, so Django comes first.
from dashboard.project.databases import close_request_connections  # noqa: E402
from dashboard.routing import with_streams  # noqa: E402
from durable.gateway.asgi import mount_gateway  # noqa: E402

request_finished.connect(close_request_connections, dispatch_uid="signoff-connections")

application = mount_gateway(with_streams(django_application))
