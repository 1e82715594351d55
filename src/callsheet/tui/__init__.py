"""The dashboard in the terminal. Imported by the commands that open it alone: Textual takes time to import."""
