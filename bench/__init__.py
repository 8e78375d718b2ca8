"""Measures the engine: ``python -m bench``. As an app it holds the workflows that are measured."""
