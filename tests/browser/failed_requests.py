"""Requests of a page that failed, but for those that were given up with their document."""

from __future__ import annotations

from playwright.sync_api import Frame, Page, Request


class FailedRequests:
    """Adds the failed requests of `page` to `found`.

    A document that is left takes what it was still reading with it: nobody waits for that, and it
    is no failure. A write that is cut off so is one, since nobody knows whether it was done; and so
    is whatever is cut off in a document that stays.
    """

    def __init__(self, page: Page, found: list[str]) -> None:
        self._found = found
        self._next: Request | None = None
        """Asks for the document that comes next; None once it is there."""
        self._under_way: set[Request] = set()
        self._left: set[Request] = set()
        """Those that were under way when the next document came: some are told of only later."""
        page.on("request", self._began)
        page.on("requestfinished", self._finished)
        page.on("requestfailed", self._failed)
        page.on("framenavigated", self._came)

    def _began(self, request: Request) -> None:
        self._under_way.add(request)
        if request.is_navigation_request():
            self._next = request

    def _finished(self, request: Request) -> None:
        self._under_way.discard(request)

    def _came(self, frame: Frame) -> None:
        """A document, or only another address for the same one."""
        if self._next and _page_of(frame.url) == _page_of(self._next.url):
            self._left |= self._under_way - {self._next}
            self._next = None

    def _failed(self, request: Request) -> None:
        self._under_way.discard(request)
        is_next = request == self._next
        was_left = request in self._left or (self._next is not None and not is_next)
        if is_next:
            self._next = None
        is_cut_off = request.failure == "net::ERR_ABORTED" and request.method == "GET"
        if not (is_cut_off and was_left):
            self._found.append(f"{request.method} {request.url}: {request.failure}")


def _page_of(url: str) -> str:
    return url.partition("#")[0]
