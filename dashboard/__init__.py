"""The people's side of Signoff: inbox, operations pages and audit trail."""
