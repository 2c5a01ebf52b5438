"""The command line: argv in, a table and an exit code out."""
