"""Reads the pages for people: README, docs and their likes."""

from pathlib import Path
import re

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
# The executables of this package are none by themselves: `ros2 run csa_ros` finds them.
EXECUTABLES = sorted(path.name for path in (ROOT / 'bin').iterdir())
PROGRAMS = (r'\.', 'colcon', 'docker', 'export', 'git', 'pip', 'python3?', 'ros2', 'rosdep',
            'rviz2', 'sbatch', r'scripts/\w+', *EXECUTABLES)
PAGES = [*sorted(ROOT.glob('*.md')), *sorted(DOCS.glob('*.md')),
         *sorted((ROOT / '.github').glob('**/*.md'))]


def table(page, heading):
    """Return the cells of the first table under a heading of a page, without its head rows."""
    section = (DOCS / page).read_text().split(f'# {heading}\n')[1].split('\n#')[0]
    rows = [line for line in section.splitlines() if line.startswith('|')][2:]
    # A bar inside a cell is escaped.
    return [[cell.strip() for cell in re.split(r'(?<!\\)\|', row)[1:-1]] for row in rows]


def inline_commands(page):
    """Return what a page has in code within its text and begins with one of PROGRAMS."""
    found = re.findall(r'(?<!`)`([^`]+)`(?!`)', page.read_text())
    lines = [' '.join(text.split()) for text in found]
    return [line for line in lines if re.match(rf'({"|".join(PROGRAMS)}) .', line)]


def commands(page):
    """Return the lines of the indented blocks of a page, joined where they go on."""
    text = page.read_text()
    blocks = re.findall(r'(?:^(?: {4}|\t| {7}).*\n?)+', text, re.M)
    lines = ''.join(blocks).replace('\\\n', ' ').splitlines()
    return [re.sub(r'\s{2,}#.*', '', line).strip().removeprefix('$ ') for line in lines]
