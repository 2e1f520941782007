"""What a page says of its JavaScript modules."""

from __future__ import annotations

from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chat.module_graph import imported_by

register = template.Library()


@register.simple_tag(takes_context=True)
def module(context: dict[str, Any], entry: str) -> SafeString:
    """The module `entry` (its static name) as a script, and all that it imports as links, so that
    the browser fetches them side by side. Each is named by the address that the imports name."""
    nonce = context["request"].csp_nonce
    script = '<script type="module" nonce="{}" src="{}"></script>'
    link = '\n  <link rel="modulepreload" nonce="{}" href="{}">'
    links = ((nonce, static(name)) for name in imported_by(entry))
    return format_html(script, nonce, static(entry)) + format_html_join("", link, links)
