"""Facts: ids, events, commands, records and the tables that say what may follow what. Pure values, no I/O."""
