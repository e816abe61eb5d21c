"""The command line of lossc: one file a command in `commands/`, thin, over the library."""
