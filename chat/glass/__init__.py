"""The glass box: the tokens of an answer, how likely each was, and answers that go on from another
one."""
