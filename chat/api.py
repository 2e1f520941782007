"""REST."""

from ninja import NinjaAPI

api = NinjaAPI(title="TinyLLM")
