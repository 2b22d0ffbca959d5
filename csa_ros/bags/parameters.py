"""The node's parameters from a file as `ros2 run ... --params-file` takes it, without a node."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csa_ros.ros import parameters
from csa_ros.ros.parameters import Config
from csa_ros.ros.parameters import ParameterError
import yaml


def read(path: Path | None, name: str, overrides: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """
    Return the configuration of a node called `name`, and the names in the file that it ignores.

    `overrides` come before the file, and the file before the defaults. Raises ParameterError for
    a file that cannot be used, and for values that the node would refuse.
    """
    given = _from_file(path, name) if path else {}
    values = {item.name: item.default for item in parameters.PARAMETERS}
    ignored = sorted(set(given) - set(values))
    values.update({key: value for key, value in given.items() if key in values})
    values.update(overrides)
    return parameters.read(values), ignored


def _from_file(path: Path, name: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f'the parameters in {path} cannot be read: {error}') from error
    sections = document if isinstance(document, dict) else {}
    values = {}
    for node, section in sections.items():
        # The name alone, as this has no namespace: `/**`, `/robot/segment` and `segment` fit.
        if str(node).rpartition('/')[2] in ('**', '*', name.rpartition('/')[2]):
            if not isinstance(section, dict) or not isinstance(
                    section.get('ros__parameters'), dict):
                raise ParameterError(f'{path}: {node} has no ros__parameters; indent them below '
                                     'it, as in config/segment.yaml')
            values.update(section['ros__parameters'])
    if not values:
        raise ParameterError(f'{path} has no parameters for a node called {name}; put them under '
                             '/**: and ros__parameters:, as in config/segment.yaml')
    return values
