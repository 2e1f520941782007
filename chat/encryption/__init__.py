"""What is said on the site, encrypted where it is kept: off until the operator gives keys
(docs/privacy.md, docs/adr/0023-encryption-at-rest.md)."""
