"""What a test asserts: measure, compare with the baseline, record, raise."""
