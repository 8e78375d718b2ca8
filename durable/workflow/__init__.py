"""What durable functions are written against; reached through ``import durable``."""
