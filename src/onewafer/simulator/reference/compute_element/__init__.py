"""The compute element of the reference engine: tasks, instructions, DSD operations, memory."""
