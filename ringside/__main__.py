"""`python -m ringside`: the command line."""

from ringside.commands import main

if __name__ == "__main__":
    main()
