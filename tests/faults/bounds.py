"""What one hostile photo or request may cost. The processor's seconds are doubled in tests: machines differ."""

from __future__ import annotations

CPU_S = 1.0
MEMORY_BYTES = 256_000_000
# Without a line for so long, a decoder hangs; the costliest photo here takes one second.
SILENCE_S = 60.0
SENTENCES = ("unreadable image: ", "image too large: ")
