"""The open loop: Poisson arrivals over bare gRPC, the highest rate, and overload. Must not import `cli` or `bench`."""
