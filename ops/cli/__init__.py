"""The commands of `python -m ops`, one parser and one `run` function each. No other room may import this package."""
