"""What Outlive costs, beside this machine's limit and beside DBOS, in one run: ``python -m benchmarks``."""
