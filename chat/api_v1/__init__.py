"""/api/v1/: the site's own objects for programs. One file per object; each endpoint asks the same
services and selectors as the pages do, and its document is at /api/v1/openapi.json."""
