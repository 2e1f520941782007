"""Trains the Llama models that the engine runs. Plain torch, free of Django: on a bare machine
with a GPU, `python -m inference.training` does what `manage.py train` does.

texts → tokenizer → encoding → shards → batches → trainer → model_files
"""
