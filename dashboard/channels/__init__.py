"""Tells people of their questions outside the pages, and how each ended: mail, chat, webhooks."""
