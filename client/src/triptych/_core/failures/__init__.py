"""Failures of a call: their codes, and the translation to the exceptions of `triptych.errors`. Performs no I/O."""
