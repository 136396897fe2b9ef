"""The arrays as tables that every engine understands, and back."""
