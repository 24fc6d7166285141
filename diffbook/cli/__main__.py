"""`python -m diffbook.cli`, which starts in every process of a team."""

from diffbook.cli import main

if __name__ == '__main__':
    main()
