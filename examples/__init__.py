"""Workflows of the demo: real ones, to read and to change."""
