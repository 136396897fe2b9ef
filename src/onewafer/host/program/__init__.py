"""A compiled program as the host sees it: its folder, exports, scalars, buffers and ports."""
