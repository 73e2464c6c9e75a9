"""What studies found: a page, and lines for a terminal, of each."""
