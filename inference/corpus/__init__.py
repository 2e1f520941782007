"""The training text of the story model: written by a grammar, sampled from models, and filtered.

No Django and, outside of `sampling.py`, no torch: `python -m inference.corpus` works on a bare
machine that has Python alone.
"""
