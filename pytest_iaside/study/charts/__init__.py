"""Charts that only studies draw."""
