"""What a supervisor asks: is it alive, is it ready, what does it do. docs/api.md lists it."""
