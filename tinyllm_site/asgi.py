"""The ASGI application: the local-mode guard around pages, API, event streams and websockets."""

from __future__ import annotations

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

from tinyllm_site.env import use_settings

use_settings()
_django = get_asgi_application()

# These import models, which exist only once the line above has loaded the apps.
from chat.guard import Guard  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402

application = Guard(
    ProtocolTypeRouter(
        {"http": _django, "websocket": AuthMiddlewareStack(URLRouter(websocket_urlpatterns))}
    )
)
