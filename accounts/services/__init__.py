"""All writes. A service owns its transaction, writes the audit log and publishes the change to the gate."""
