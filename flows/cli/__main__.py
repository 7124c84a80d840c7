"""`python -m flows.cli`: the `selectllm` command."""

from flows.cli.commands import main

if __name__ == "__main__":
    main()
