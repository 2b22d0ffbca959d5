"""What an evaluation leaves behind: figures, tables, plots and sheets of pictures."""
