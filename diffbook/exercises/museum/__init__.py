"""Behind the scenes of the bug museum (chapter 93): the mistakes, and the little program they are made in. Looking here spoils the game."""
