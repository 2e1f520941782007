"""What a page does against its Content-Security-Policy, as the browser tells it."""

from __future__ import annotations

from playwright.sync_api import BrowserContext

# The console has it too, in words that change from one Chromium to the next.
_LISTEN = """document.addEventListener("securitypolicyviolation", (event) =>
    reportViolation(`${event.effectiveDirective} refused ${event.blockedURI}`
        + ` at ${location.pathname} (${event.sourceFile}:${event.lineNumber})`));"""


def watch_violations(context: BrowserContext, found: list[str]) -> None:
    """From now on every page of `context` adds what its policy refused to `found`."""
    context.expose_binding("reportViolation", lambda _, text: found.append(str(text)))
    context.add_init_script(_LISTEN)
