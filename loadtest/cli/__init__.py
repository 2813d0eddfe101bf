"""The command line `triptych loadtest`: options, commands and their output. No other room may import it."""
