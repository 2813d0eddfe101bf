"""What the commands show about a server."""
