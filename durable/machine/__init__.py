"""The rules: what a request or a due timer changes (protocol.md 3, 4). Pure: no I/O, no clock."""
