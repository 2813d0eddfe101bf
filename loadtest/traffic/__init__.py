"""Photos to send, calls through the client, and their results: counted, timed and compared. Must not import Locust."""
