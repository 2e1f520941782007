"""Pages for those who run the site, beside the admin's own under /admin/."""
