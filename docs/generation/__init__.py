"""Makes the pages that are derived from code. May import every room; nothing but `mkdocs.yml` and tests imports it."""
