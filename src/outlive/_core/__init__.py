"""Replay: given a workflow function and a log, always the same commands. No clock, no store, no I/O."""
