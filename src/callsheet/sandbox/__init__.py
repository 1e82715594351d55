"""One child process a run: the script runs in it, and nothing that it says is believed."""
