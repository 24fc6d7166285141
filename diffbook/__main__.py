"""`python -m diffbook`, the command line."""

from diffbook.cli import main

if __name__ == '__main__':
    main()
