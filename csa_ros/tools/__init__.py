"""Command-line tools, each a module with a `main`."""
