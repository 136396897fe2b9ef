"""What a model costs on GPUs: kernels of an inference engine, links, plans, serving.

In: a `Model`, a `Job`, a cluster of GPUs of `arch`. Out: an `Answer` or a `Refusal`. Measured
latencies of kernels come from the package aiconfigurator-core (extra `gpu`); without it, kernels
are as fast as a roofline lets them, which the answer says.
"""
