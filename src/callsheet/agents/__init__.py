"""Who does the work: kinds of agent behind one port."""
