"""The connection to a server: addresses, credentials, gRPC, HTTP and shared memory. Imports no client."""
