"""What a request spent its time on: spans by context, from the way in to the last row."""
