"""What the checker looks for, one file a subject. A rule speaks only where it is right (CONTRACT C01)."""
