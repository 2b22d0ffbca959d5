"""What the README says of parameters, topics and arguments is what the code has."""

from pathlib import Path
import re

from csa_ros.parameters.table import PARAMETERS
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text()


def table(heading):
    """Return the cells of the table under a heading, without its two head rows."""
    section = README.split(f'### {heading}\n')[1].split('\n#')[0]
    rows = [line for line in section.splitlines() if line.startswith('|')][2:]
    # A bar inside a cell is escaped.
    return [[cell.strip() for cell in re.split(r'(?<!\\)\|', row)[1:-1]] for row in rows]


def test_parameter_table_is_that_of_the_code():
    """Every parameter is there, in order, with its default and description, and no other is."""
    rows = table('Parameters')
    assert [row[0].strip('`¹ ') for row in rows] == [item.name for item in PARAMETERS]
    for (name, default, description), item in zip(rows, PARAMETERS):
        assert ('¹' in name) == (item.loaded or item.read_only), name
        expected = 'street words' if item.name == 'vocabulary' else f'`{item.default}`'
        expected = 'none' if item.default == '' else expected
        assert default == expected.replace('True', 'true')
        assert description.startswith(item.description), name


@pytest.mark.parametrize('topic', [row[0] for row in table('Topics')])
def test_topics_are_those_of_the_code(topic):
    """Every topic of the table is created somewhere in the node."""
    names = re.match('`(?:~/|/)?([a-z_/]+)`', topic)[1].split('/')
    code = ''.join(path.read_text() for path in (ROOT / 'csa_ros' / 'ros').glob('*.py'))
    for name in names:
        assert re.search(rf"'[^']*\b{name}'", code), topic


def test_launch_arguments_are_those_of_the_launch_file():
    """The README names every argument of the launch file."""
    launch = (ROOT / 'launch' / 'segment.launch.py').read_text()
    for name in re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", launch):
        assert f'`{name}`' in README, name


def test_files_and_pictures_exist():
    """Whatever path of the repository the README names is there."""
    paths = re.findall(r'\]\(([\w/.]+)\)|`((?:config|csa_ros|scripts|test)/[\w/.]*)`', README)
    assert len(paths) > 8
    for path in (first or second for first, second in paths):
        assert (ROOT / path).exists(), path
