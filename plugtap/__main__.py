"""`python -m plugtap` is the same as the `plugtap` command."""

from plugtap.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
