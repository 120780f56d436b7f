"""Every write: services own their transaction, write the audit log and tell the gate."""
