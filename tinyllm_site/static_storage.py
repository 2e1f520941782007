"""Static files under names that carry the hash of what is in them."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Modules import each other under those names too: a browser keeps them for good, and a page
    that names them beforehand names the same addresses."""

    support_js_module_import_aggregation = True
    # A module's name depends on those of its imports: each level takes a pass.
    max_post_process_passes = 30
