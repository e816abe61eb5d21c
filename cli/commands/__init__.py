"""One module a command: `run` is the typer function, `EXAMPLES` are shown by --help (and run by the tests)."""
