"""The formats of tables: one module each finds out how a file is written and reads its rows."""
