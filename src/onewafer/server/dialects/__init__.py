"""The languages that clients speak: one file each translates to `Generation` and from `Event`s."""
