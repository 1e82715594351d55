"""The folder that agents work in: its root, its git state, what changed."""
