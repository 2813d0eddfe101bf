"""The files of the catalogue folder: how they are opened, compared with their checksums, and reserved."""
