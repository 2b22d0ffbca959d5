"""What the node publishes: which action is going on, and what was recorded."""

from collections.abc import Mapping
import json
from typing import Any

from csa_ros.parameters.actions import NONE
from csa_ros.ros.actions.snapshot import Snapshot
from csa_ros.ros.outputs import heard
from csa_ros.ros.outputs import Outputs
from csa_ros.ros.timeline import to_time
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import Header
from std_msgs.msg import String
try:
    from vision_msgs.msg import Classification
    from vision_msgs.msg import ObjectHypothesis
except ImportError:
    Classification = None

# Behind the point, in JSON.
_DIGITS = 3


class ActionOutputs(Outputs):
    """Says which action is going on: JSON, and Classification if there is vision_msgs."""

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(node, DurabilityPolicy.VOLATILE)
        self._json = self._create(String, '~/action/json')
        self._action: Any = self._create(Classification, '~/action') if Classification else None

    def publish(self, header: Header, probabilities: Mapping[str, float], threshold: float
                ) -> None:
        """
        Publish what the probabilities of all actions say of a window.

        `header` is that of its last image. Of the Classification the first result is what is said,
        with all actions behind it as probable as they are; NONE has what the likeliest lacks.
        """
        ranked = sorted(probabilities.items(), key=lambda item: -item[1])
        best, likely = ranked[0]
        said = best if likely >= threshold else NONE
        if heard(self._json):
            stamp = {'sec': header.stamp.sec, 'nanosec': header.stamp.nanosec}
            self._json.publish(String(data=json.dumps(
                {'stamp': stamp, 'frame_id': header.frame_id, 'action': said,
                 'probabilities': {name: round(value, _DIGITS) for name, value in ranked}},
                ensure_ascii=False)))
        if heard(self._action):
            results = [*([(NONE, 1 - likely)] if said == NONE else []), *ranked]
            self._action.publish(Classification(header=header, results=[
                ObjectHypothesis(class_id=name, score=float(value)) for name, value in results]))


class RecordedOutput(Outputs):
    """Says what was recorded: JSON on `~/examples`."""

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(node, DurabilityPolicy.TRANSIENT_LOCAL)
        self._json = self._create(String, '~/examples')

    def publish(self, snapshot: Snapshot, file: str) -> None:
        """Publish what is known; `file` is where it is kept, '' for nowhere."""
        shown: dict[str, list[dict[str, Any]]] = {name: [] for name in snapshot.words.names}
        for example in snapshot.examples:
            time = to_time(example.look.stamp)
            shown.setdefault(example.name, []).append({
                'camera': example.look.camera,
                'stamp': {'sec': time.sec, 'nanosec': time.nanosec}})
        self._json.publish(String(data=json.dumps(
            {'version': snapshot.version, 'file': file, 'forgotten': snapshot.examples.forgotten,
             'actions': [{'name': name, 'count': len(examples),
                          'in_actions': name in snapshot.words.names, 'examples': examples}
                         for name, examples in shown.items()]}, ensure_ascii=False)))
