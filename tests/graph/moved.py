"""The traffic of an operation: what it reads and writes in one launch."""


def moved_elements(operation, graph):
    """Return the elements of its operands and its result in a launch, each once."""
    work = operation.count_work(graph.by_name)
    return work.weights + work.activations + work.cached
