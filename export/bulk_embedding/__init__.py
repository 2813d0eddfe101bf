"""Embeds a catalogue through a server with Ray. The only room of `export` that imports the client `triptych`."""
