"""Sources of tokens: the model on this computer or on a simulated wafer, or synthetic text."""
