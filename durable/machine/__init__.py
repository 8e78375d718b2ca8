"""The rules: what a request or a due timer changes (protocol.md 3 and 4). Pure: no Django, no clock."""
