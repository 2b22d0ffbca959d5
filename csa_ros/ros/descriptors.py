"""The parameters of nodes as rclpy declares them."""

from collections.abc import Sequence
from typing import Any

from csa_ros.parameters.table import Parameter
from csa_ros.parameters.table import PARAMETERS
from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor


def declarations(parameters: Sequence[Parameter] = PARAMETERS
                 ) -> list[tuple[str, Any, ParameterDescriptor]]:
    """Return what `Node.declare_parameters` takes, for those of the segment node or others."""
    return [(item.name, item.default, descriptor(item)) for item in parameters]


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return what `ros2 param describe` and graphical tools show."""
    result = ParameterDescriptor(
        name=parameter.name,
        description=parameter.description,
        additional_constraints=parameter.limits,
        read_only=parameter.read_only,
        # rclpy has no "list or string", refuses an integer for a float, and gives type numbers as
        # the reason: `Parameter.check` does all that.
        dynamic_typing=True)
    if parameter.bounds and isinstance(parameter.default, float):
        low, high = parameter.bounds
        result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif parameter.bounds:
        low, high = parameter.bounds
        result.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return result
