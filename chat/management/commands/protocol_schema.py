"""`manage.py protocol_schema`: the frames of the websocket as a JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from chat.protocol import schema


class Command(BaseCommand):
    help = "Print the JSON Schema of the websocket's frames (docs/protocol.schema.json)."

    def handle(self, **options: Any) -> None:
        self.stdout.write(json.dumps(schema(), indent=2, ensure_ascii=False))
