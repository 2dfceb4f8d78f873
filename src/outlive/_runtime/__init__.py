"""The worker: roles that own runs and drive them. Knows stores only by their protocol."""
