"""Pages by Django, websockets by the assistant, below the address that its pages have."""

from __future__ import annotations

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")
_django = get_asgi_application()

from chat.guard import Guard  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402

_sockets = URLRouter([path("assistant/", URLRouter(websocket_urlpatterns))])
application = Guard(
    ProtocolTypeRouter({"http": _django, "websocket": AuthMiddlewareStack(_sockets)})
)
