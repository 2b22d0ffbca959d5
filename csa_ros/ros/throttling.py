"""How often the log says the same."""

from typing import Any

from rclpy.clock import Clock
from rclpy.clock import ClockType

# In seconds.
LOG_PERIOD = 5.0
# For the methods of a logger: once in LOG_PERIOD for a line of code, whatever /clock does.
THROTTLED: dict[str, Any] = {
    'throttle_duration_sec': LOG_PERIOD,
    'throttle_time_source_type': Clock(clock_type=ClockType.STEADY_TIME)}
