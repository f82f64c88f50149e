"""`python -m tools.benchmark`: one file a row of its table."""
