"""What our code uses of rclpy and launch, read from its text."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('ament_index_python', 'launch', 'launch_ros', 'rclpy')


class Uses:
    """
    The names that a Python file uses.

    `known` are dotted, as `rclpy.clock.ClockType.ROS_TIME`. `guessed` are what stands behind a dot
    where the file does not say what is before it: `.create_timer` for `node.create_timer`. Each
    is there once more for every keyword that it is called with: `.create_timer(clock)`.
    """

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_text())
        self._imports: dict[str, str] = {}
        for node in ast.walk(tree):
            self._take_import(node)
        self.known = set(self._imports.values())
        self.guessed: set[str] = set()
        if self.known:
            for node in ast.walk(tree):
                self._take_use(node)

    def _take_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            names = {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name: f'{node.module}.{alias.name}'
                     for alias in node.names}
        else:
            return
        self._imports.update({alias: name for alias, name in names.items()
                              if name.split('.')[0] in PACKAGES})

    def _take_use(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            self._add(node)
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg:
                    self._add(node.func, f'({keyword.arg})')

    def _add(self, node: ast.AST, suffix: str = '') -> None:
        name = self._dotted(node)
        if name:
            self.known.add(name + suffix)
        elif isinstance(node, ast.Attribute):
            self.guessed.add(f'.{node.attr}{suffix}')

    def _dotted(self, node: ast.AST) -> str:
        """Return the full name of an expression, nothing if it does not begin with an import."""
        if isinstance(node, ast.Name):
            return self._imports.get(node.id, '')
        if isinstance(node, ast.Attribute):
            before = self._dotted(node.value)
            return before and f'{before}.{node.attr}'
        return ''


def uses() -> tuple[set[str], set[str]]:
    """Return what is known and what is guessed of all our files, tests included."""
    found = [Uses(path) for pattern in ('csa_ros/**/*.py', 'launch/*.py', 'test/**/*.py')
             for path in ROOT.glob(pattern)]
    return (set().union(*(uses.known for uses in found)),
            set().union(*(uses.guessed for uses in found)))
