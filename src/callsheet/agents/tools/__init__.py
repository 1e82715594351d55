"""The tools of an agent: bash, read, write, edit, glob, grep. They know nothing of any model's client."""
