"""One Triton server on this machine: start, readiness, state, status, stop. Must not import any other room of `ops`."""
