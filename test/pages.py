"""Reads the pages for people: README, docs and their likes."""

from pathlib import Path
import re

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
PAGES = [*sorted(ROOT.glob('*.md')), *sorted(DOCS.glob('*.md')),
         *sorted((ROOT / '.github').glob('**/*.md'))]


def table(page, heading):
    """Return the cells of the first table under a heading of a page, without its head rows."""
    section = (DOCS / page).read_text().split(f'# {heading}\n')[1].split('\n#')[0]
    rows = [line for line in section.splitlines() if line.startswith('|')][2:]
    # A bar inside a cell is escaped.
    return [[cell.strip() for cell in re.split(r'(?<!\\)\|', row)[1:-1]] for row in rows]


def commands(page):
    """Return the lines of the indented blocks of a page, joined where they go on."""
    text = page.read_text()
    blocks = re.findall(r'(?:^(?: {4}|\t| {7}).*\n?)+', text, re.M)
    lines = ''.join(blocks).replace('\\\n', ' ').splitlines()
    return [re.sub(r'\s{2,}#.*', '', line).strip().removeprefix('$ ') for line in lines]
