"""Reports problems before a server meets them, and open access to a running one. Must not import `ops.cli`."""
