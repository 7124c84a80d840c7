"""`python -m flows.cli`: the `selectllm` command."""

from flows.cli.app import main

if __name__ == "__main__":
    main()
