"""What a page may load, run and ask the browser for: a header on every answer that is ours to give.

Two policies: a strict one for everything, and a second one for the admin, whose templates are not
ours (docs/adr/0013-admin-policy.md). docs/security.md says what each line is for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

from chat.addresses import in_admin, is_ours

SITE_POLICY = {
    "default-src": [NONE],
    # A script runs if our template marked its tag, and what it imports runs with it. A file of
    # ours in a tag that somebody smuggled in does not.
    "script-src": [NONCE],
    "style-src": [SELF],
    "img-src": [SELF],
    # The websocket of this origin counts as self.
    "connect-src": [SELF],
    "object-src": [NONE],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}
ADMIN_POLICY = {
    **SITE_POLICY,
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src-attr": [UNSAFE_INLINE],
    "font-src": [SELF],
}
# Nothing here asks for any of these, so no script may. The microphone is asked for to dictate.
PERMISSIONS = ("camera", "display-capture", "geolocation", "midi", "payment", "usb")


class ContentPolicyMiddleware(CSPMiddleware):
    """Templates mark their scripts with `nonce="{{ request.csp_nonce }}"`. What another project has
    beside our pages keeps its own policy."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        # Nothing here waits, so it needs none of the two worker threads that the parent asks for.
        self.process_request(request)
        get_response = cast(Callable[[HttpRequest], Awaitable[HttpResponseBase]], self.get_response)
        return self.process_response(request, await get_response(request))

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if is_ours(request):
            denied = [f"{name}=()" for name in PERMISSIONS]
            response["Permissions-Policy"] = ", ".join([*denied, "microphone=(self)"])
        return super().process_response(request, response)

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if not report_only and is_ours(request):
            is_admin = in_admin(request)
            parts.config = ADMIN_POLICY if is_admin else SITE_POLICY
            if parts.nonce is None and not is_admin:
                parts.replace = {"script-src": [NONE]}
        return parts
