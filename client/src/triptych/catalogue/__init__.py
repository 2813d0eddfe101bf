"""The catalogue: its calls, and imports from files. Must not import a client, a transport or the command line."""

from triptych.catalogue.async_catalogue import AsyncCatalogue
from triptych.catalogue.catalogue import Catalogue

__all__ = ["AsyncCatalogue", "Catalogue"]
