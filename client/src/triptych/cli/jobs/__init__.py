"""Runs of the command over many photos: progress, journals, output files. Imports no subcommand."""
