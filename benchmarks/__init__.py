"""Benchmarks: what the supervisor costs beyond what cannot be avoided.

``python -m benchmarks`` (``make bench``) measures and prints. Every figure is a comparison made in
one run: ours and a bare process doing the same thing take turns, so that a slow or busy machine
slows both. Owns no test: nothing here fails because a machine is slow. docs/benchmarks.md says how
to read and repeat the figures.
"""
