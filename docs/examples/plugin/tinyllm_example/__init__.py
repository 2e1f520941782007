"""Plugins for TinyLLM: a content filter, a sampler, a source of models, an architecture, a tool."""
