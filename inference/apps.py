"""Registers the engine's commands with the site. Starts nothing: `serve` does."""

from __future__ import annotations

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"
    verbose_name = "Inference"
