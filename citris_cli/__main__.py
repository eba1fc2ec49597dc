"""``python -m citris_cli``: the same as ``citris``."""

from citris_cli.app import main

if __name__ == "__main__":
    main()
