"""The commands of ``iaside``, one to a file: the same functions as in tests, outside pytest."""
