"""Prompts that are kept under a name: a person's own, made on a page, and the site's, made in the
admin. `/` in an empty message lists both; each change of one keeps a version."""
