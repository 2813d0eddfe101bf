"""Which part of a photo speaks for a class."""
