"""The command line `python -m loadtest`: options, commands and their output. No other room may import it."""
