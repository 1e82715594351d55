"""Writing scripts: what a model is told of them, and the workflow in which it writes one."""
