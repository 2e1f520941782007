"""Judges story models: how well they foresee texts, and what the stories that they tell are like.
Everything is computed by our own engine. Free of Django: `python -m inference.evaluation`."""
