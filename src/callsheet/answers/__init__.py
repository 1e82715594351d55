"""What an agent may answer: schemas, their validation, and values made up to fit one."""
