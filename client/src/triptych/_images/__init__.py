"""Photos: reading, downloading, encoding, cropping, hashing. Imports no other room of this package."""
