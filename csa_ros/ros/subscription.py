"""A subscription with the quality of service that the publishers of its topic offer."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.node import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy
from rclpy.qos import HistoryPolicy
from rclpy.qos import qos_check_compatible
from rclpy.qos import QoSCompatibility
from rclpy.qos import QoSPolicyKind
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

# What `qos_overrides` leave to the publishers: the default, and rclpy's name for the same from
# Jazzy on.
_OPEN = ('SYSTEM_DEFAULT', 'BEST_AVAILABLE')
_OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
                QoSPolicyKind.DURABILITY)


class AdaptiveSubscription:
    """
    Subscribes as the publishers of a topic offer, and again when others come or go.

    The subscription is reliable if every publisher is, else best effort, and transient local if
    every publisher is, else volatile: the most with which all of them connect, as `ros2 topic
    echo` and `ros2 bag record` choose it. While there is no publisher it stays as it is, which is
    best effort and volatile at first. What `qos_overrides` parameters say holds instead.

    `on_message` gets each message, once even where two subscriptions overlap as one replaces the
    other; `on_lost` is told how many messages the middleware lost, where it can tell. All is for
    the executor's thread.
    """

    def __init__(self, node: Node, message_type: type, type_name: str, topic: str,
                 on_message: Callable[[Any], None], on_lost: Callable[[int], None],
                 depth: int = 1) -> None:
        self._node = node
        self._message_type = message_type
        self._type_name = type_name
        self._topic = node.resolve_topic_name(topic)
        self._on_message = on_message
        self._on_lost = on_lost
        self._depth = depth
        self._offered = ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE
        # What the parameters say of reliability and durability.
        self._asked: tuple[Any, Any] = (
            ReliabilityPolicy.SYSTEM_DEFAULT, DurabilityPolicy.SYSTEM_DEFAULT)
        # The last messages, by which those are known that a new subscription gets once more.
        self._recent: deque[Any] = deque(maxlen=depth)
        self._number = 0
        self._replaced: Any = None
        self._settling = False
        self._read_offers()
        self._subscription = self._subscribe()

    @property
    def topic(self) -> str:
        """Return the full name, after remapping."""
        return self._subscription.topic_name

    @property
    def reliable(self) -> bool:
        """Return whether lost messages are sent again."""
        return self._subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE

    def follow(self) -> None:
        """Subscribe again if the publishers offer something else; to be called every second."""
        # What a replaced subscription still gets, the new one gets too by now.
        self._drop_replaced()
        self._settling = False
        self._adapt()

    def fits(self, offered: QoSProfile) -> bool:
        """Return whether a publisher of this quality of service connects."""
        compatibility, _ = qos_check_compatible(offered, self._subscription.qos_profile)
        return compatibility != QoSCompatibility.ERROR

    def destroy(self) -> None:
        """Take the subscription off the graph."""
        self._drop_replaced()
        self._node.destroy_subscription(self._subscription)

    def _adapt(self) -> bool:
        """Subscribe again if need be; return whether there was need."""
        self._read_offers()
        used = self._subscription.qos_profile
        if self._wanted() == (used.reliability, used.durability):
            return False
        # The old one goes when the new one is connected: no message is to be lost between them.
        self._drop_replaced()
        self._settling = True
        self._number += 1
        self._replaced, self._subscription = self._subscription, self._subscribe()
        return True

    def _read_offers(self) -> None:
        offers = [publisher.qos_profile
                  for publisher in self._node.get_publishers_info_by_topic(self._topic)
                  if publisher.topic_type == self._type_name]
        if offers:
            reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offers)
            latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offers)
            self._offered = (
                ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
                DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)

    def _wanted(self) -> tuple[Any, ...]:
        return tuple(offered if asked.name in _OPEN else asked
                     for asked, offered in zip(self._asked, self._offered))

    def _resolve(self, qos: QoSProfile) -> SetParametersResult:
        """Fill in what the parameters leave open; rclpy calls this once it has applied them."""
        self._asked = qos.reliability, qos.durability
        qos.reliability, qos.durability = self._wanted()
        return SetParametersResult(successful=True)

    def _subscribe(self) -> Any:
        try:
            return self._create(SubscriptionEventCallbacks(
                message_lost=lambda event: self._on_lost(event.total_count_change),
                incompatible_qos=lambda event: self._on_incompatible()))
        except RuntimeError:  # of an event that this middleware does not have, for instance
            return self._create(None)

    def _create(self, event_callbacks: SubscriptionEventCallbacks | None) -> Any:
        return self._node.create_subscription(
            self._message_type, self._topic, partial(self._take, self._number),
            QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=self._depth,
                       reliability=ReliabilityPolicy.SYSTEM_DEFAULT,
                       durability=DurabilityPolicy.SYSTEM_DEFAULT),
            event_callbacks=event_callbacks,
            qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE, callback=self._resolve))

    def _take(self, number: int, message: Any) -> None:
        if self._settling:
            if number == self._number:
                self._drop_replaced()
            if message in self._recent:
                return
        self._recent.append(message)
        self._on_message(message)

    def _drop_replaced(self) -> None:
        if self._replaced:
            self._node.destroy_subscription(self._replaced)
            self._replaced = None

    def _on_incompatible(self) -> None:
        """Let a publisher connect that offers less than those before it, or say why it cannot."""
        if not self._adapt() and self._wanted() != self._offered:
            self._node.get_logger().warning(
                f'a publisher of {self._topic} offers less than the qos_overrides parameters ask '
                f'for, and is not heard: see `ros2 topic info -v {self._topic}`')
