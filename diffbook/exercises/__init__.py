"""The graders of the book's exercises, one file a chapter. Reading them spoils the fun."""
