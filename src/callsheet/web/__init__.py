"""The dashboard in the browser, and the report. Imported by the commands that serve or write it alone."""
