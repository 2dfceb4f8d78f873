"""Where runs are kept: the protocol and its backends."""
