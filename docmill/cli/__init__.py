"""The `docmill` command. Each command's module is imported only when it runs, so that `--help` is quick."""
