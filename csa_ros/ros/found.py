"""What the node publishes of phrases that are found, and of the objects of classes."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

from csa_ros.finding.regions import found_regions
from csa_ros.finding.regions import object_regions
from csa_ros.finding.regions import Region
from csa_ros.ros.images import to_message
from csa_ros.ros.outputs import heard
from csa_ros.ros.outputs import Outputs
from csa_ros.ros.snapshot import Snapshot
from csa_ros.segmenter import Result
from geometry_msgs.msg import Point
from geometry_msgs.msg import Pose
from geometry_msgs.msg import PoseArray
import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_msgs.msg import String
try:
    from vision_msgs.msg import BoundingBox2D
    from vision_msgs.msg import Detection2D
    from vision_msgs.msg import Detection2DArray
    from vision_msgs.msg import ObjectHypothesis
    from vision_msgs.msg import ObjectHypothesisWithPose
except ImportError:
    Detection2DArray = None

# Behind the point, in JSON.
_DIGITS = 3
# None where nothing was measured.
Places = Sequence[np.ndarray | None]


class FoundOutputs(Outputs):
    """
    What is published for every frame of one camera, under `prefix`: heat, finds and objects.

    Where there is nothing to look for, heat is black and nothing is found.
    """

    def __init__(self, node: LifecycleNode, prefix: str = '~/') -> None:
        super().__init__(node, DurabilityPolicy.VOLATILE)
        self._heat = self._create(Image, f'{prefix}heat')
        self._found_json = self._create(String, f'{prefix}found/json')
        self._points = self._create(PoseArray, f'{prefix}found/points')
        self._objects_json = self._create(String, f'{prefix}objects/json')
        self._found: Any = None
        self._objects: Any = None
        if Detection2DArray:
            self._found = self._create(Detection2DArray, f'{prefix}found')
            self._objects = self._create(Detection2DArray, f'{prefix}objects')

    def relevancy_wanted(self) -> bool:
        """Return whether anybody listens to what takes the relevancy of phrases."""
        return heard(self._heat) or self._regions_wanted()

    def points_wanted(self) -> bool:
        """Return whether anybody listens to the places."""
        return heard(self._points)

    def json_wanted(self) -> bool:
        """Return whether anybody listens to what is found with its distance."""
        return heard(self._found_json)

    def publish(self, header: Header, result: Result, snapshot: Snapshot) -> list[Region]:
        """
        Publish a frame under the header of its image; return what was found, if it is wanted.

        What takes depth is left: see `publish_json` and `publish_points`.
        """
        if heard(self._heat):
            heat = (np.zeros_like(result.labels) if result.relevancy is None
                    else result.relevancy.max(0))
            self._heat.publish(to_message(heat, 'mono8', header))
        if heard(self._objects_json) or heard(self._objects):
            self._publish_objects(header, object_regions(
                snapshot.objects, result.labels, result.confidence, snapshot.min_object_area))
        if not self._regions_wanted() or snapshot.sought is None or result.relevancy is None:
            found = []
        else:
            found = found_regions(
                snapshot.sought.phrases, result.relevancy, snapshot.find_threshold)
        if heard(self._found):
            self._found.publish(_detections(header, found))
        return found

    def publish_json(self, header: Header, found: Sequence[Region], places: Places) -> None:
        """Publish what was found in a frame; `places` as from `csa_ros.ros.places`."""
        self._found_json.publish(_json(header, 'found', [
            {'phrase': region.name, 'score': round(region.score, _DIGITS), **_extent(region),
             'distance': None if place is None else round(float(np.linalg.norm(place)), _DIGITS)}
            for region, place in zip(found, places)]))

    def publish_points(self, header: Header, places: Places) -> None:
        """Publish the places that are known of what was found in a frame."""
        self._points.publish(PoseArray(header=header, poses=[
            Pose(position=Point(x=float(place[0]), y=float(place[1]), z=float(place[2])))
            for place in places if place is not None]))

    def _regions_wanted(self) -> bool:
        return any(map(heard, (self._found_json, self._found, self._points)))

    def _publish_objects(self, header: Header, objects: Sequence[Region]) -> None:
        if heard(self._objects_json):
            self._objects_json.publish(_json(header, 'objects', [
                {'class': region.name, 'confidence': round(region.score, _DIGITS),
                 **_extent(region)}
                for region in objects]))
        if heard(self._objects):
            self._objects.publish(_detections(header, objects))


def _json(header: Header, kind: str, items: Sequence[Mapping[str, Any]]) -> String:
    """Return the items of a frame."""
    return String(data=json.dumps(
        {'stamp': {'sec': header.stamp.sec, 'nanosec': header.stamp.nanosec},
         'frame_id': header.frame_id, kind: items}, ensure_ascii=False))


def _extent(region: Region) -> dict[str, Any]:
    return {'box': list(region.box), 'area': region.area}


def _detections(header: Header, regions: Sequence[Region]) -> Any:
    """Return regions as boxes, whose centres are those of edges of pixels."""
    detections = []
    for region in regions:
        left, top, width, height = map(float, region.box)
        box = BoundingBox2D(size_x=width, size_y=height)
        box.center.position.x = left + width / 2
        box.center.position.y = top + height / 2
        hypothesis = ObjectHypothesis(class_id=region.name, score=region.score)
        detections.append(Detection2D(
            header=header, bbox=box, results=[ObjectHypothesisWithPose(hypothesis=hypothesis)]))
    return Detection2DArray(header=header, detections=detections)
