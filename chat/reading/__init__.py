"""What is written in a file that somebody else made. Nothing here knows Django, the database or the
engine: it runs in a process of its own (`chat.reading.__main__`), which may break."""
