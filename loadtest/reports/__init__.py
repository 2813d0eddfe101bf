"""Environment of a run, charts and the HTML report. Must not import `cli` or the code that measures."""
