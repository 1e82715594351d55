"""The file tools of an agent: read, write, edit, glob, grep. They know nothing of any model's client."""
