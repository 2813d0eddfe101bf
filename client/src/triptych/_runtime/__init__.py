"""What both clients share beyond the calls: arguments, concurrency, progress bars. Imports no client."""
