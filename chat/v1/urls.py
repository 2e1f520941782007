"""Addresses of the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat.v1.anthropic import count_tokens, messages
from chat.v1.chat_completions import chat_completions
from chat.v1.completions import completions
from chat.v1.embeddings import embeddings
from chat.v1.model_list import model, models
from chat.v1.nothing import nothing
from chat.v1.responses import responses
from chat.v1.stored_responses import cancel, input_items, response
from chat.v1.tokens import apply_template, detokenize, tokenize

urlpatterns: list[URLPattern] = [
    path("v1/models", models),
    path("v1/models/<path:name>", model),
    path("v1/chat/completions", chat_completions),
    path("v1/completions", completions),
    path("v1/responses", responses),
    path("v1/embeddings", embeddings),
    path("v1/responses/<str:response_id>", response),
    path("v1/responses/<str:response_id>/cancel", cancel),
    path("v1/responses/<str:response_id>/input_items", input_items),
    path("v1/messages", messages),
    path("v1/messages/count_tokens", count_tokens),
    path("tokenize", tokenize),
    path("detokenize", detokenize),
    path("apply-template", apply_template),
    path("v1/", nothing),
    path("v1/<path:rest>", nothing),
]
