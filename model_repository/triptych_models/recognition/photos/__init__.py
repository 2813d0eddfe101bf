"""Photos as callers send them: opened within limits, named where they are not read, brought to sRGB."""
