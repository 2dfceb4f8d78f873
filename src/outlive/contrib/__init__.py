"""Ready-made parts on the public surface: nothing here can do what your own code could not."""
