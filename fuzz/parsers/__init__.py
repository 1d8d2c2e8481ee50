"""A module for each reader of bytes from outside; ``run(data)`` reads an input and says what came of it."""
