"""Files that are attached to a message: taken in, read apart, and shown to the model."""
