"""How Sphinx makes a site of these pages; see scripts/docs."""

project = 'csa_ros'
author = 'The csa_ros authors'
copyright = author  # noqa: A001 - Sphinx's name for it

extensions = ['myst_parser']
# GitHub shows it below the list of files; the site's first page includes it.
exclude_patterns = ['README.md']
# Links to headings have GitHub's anchors, for all levels that the pages use.
myst_heading_anchors = 3
nitpicky = True

html_theme = 'furo'
html_title = project
