"""The API of the SDK that host scripts use, on a simulated wafer."""
