"""The documentation site: pages in Markdown, the generator of derived pages, the prose linter. No room imports it."""
