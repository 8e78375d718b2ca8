"""Loops that fire what is due: deadlines, leases, retries, schedules, left-over drains."""
