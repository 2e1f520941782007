"""Answers that obey a grammar: what is asked for, its compilation, and a request's place in it."""
