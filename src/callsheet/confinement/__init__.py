"""What holds the programs that agents start: bubblewrap, Landlock, or nothing but a supervisor."""
