"""The command lines of the tools, read without what takes long to import."""
