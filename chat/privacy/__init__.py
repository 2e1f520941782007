"""What a person may ask of a site that keeps their words: to be forgotten, and to have them all."""
