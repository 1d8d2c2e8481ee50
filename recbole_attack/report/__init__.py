"""Records of runs as words, tables and pictures."""
