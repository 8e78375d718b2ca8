"""What is on the wire: states, tags, records and requests. No Django, no I/O, no clock."""
