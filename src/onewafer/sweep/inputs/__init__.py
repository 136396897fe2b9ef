"""The inputs of a study: values, names, axes, filters and samples of points."""
