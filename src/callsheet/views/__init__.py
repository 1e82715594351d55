"""What every surface shows of runs: reducers over events, figures, and text that is only text.

Pure: no terminal, no clock, no file.
"""
