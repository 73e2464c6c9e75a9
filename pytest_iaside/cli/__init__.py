"""The command ``iaside``: one file for each of its commands."""
