"""Shell commands, parsed: which programs run, with which words, and which files are read and written."""
