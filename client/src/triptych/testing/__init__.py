"""A Triptych server in memory, for the tests of code that calls one. Imports no test framework and opens no socket.

    fake = FakeServer()
    client = fake_client(fake)

The client is a real one: its contract check, retries, error translation and batches are those of production. Only the
server is replaced.
"""

from triptych._core.protocol import TransportError
from triptych.testing.fake_catalogue import FakeCatalogue
from triptych.testing.fake_clients import fake_async_client, fake_client
from triptych.testing.fake_server import LABELS, Failure, FakeServer, RecordedCall, Scores

__all__ = [
    "LABELS",
    "Failure",
    "FakeCatalogue",
    "FakeServer",
    "RecordedCall",
    "Scores",
    "TransportError",
    "fake_async_client",
    "fake_client",
]
