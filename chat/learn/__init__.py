"""The learning page: one forward pass of a model that is here, step by step."""
