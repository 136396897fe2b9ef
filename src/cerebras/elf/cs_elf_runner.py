"""The host runtime of SDK 0.9 and older, which onewafer refuses in a sentence."""

raise ImportError(
    "CSELFRunner belongs to SDK 0.9 and older: write the host script with SdkRuntime of "
    "cerebras.sdk.runtime.sdkruntimepybind, and the program with <memcpy/memcpy>"
)
