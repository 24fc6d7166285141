"""Measurements against other libraries. They are not tests: they take minutes and a quiet machine."""
