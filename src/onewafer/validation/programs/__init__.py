"""The CSL text of the validation programs."""
