"""What helps where the middleware loses large images."""

# By the middleware's name, or how it begins.
_REMEDIES = {
    'rmw_fastrtps': 'give Fast DDS more shared memory, here (`large_images:=true` of '
                    'segment.launch.py) and in the process of the camera '
                    '(config/fastdds_large_images.xml), or, if that is on another machine, '
                    'messages that fit into a packet, on both (config/fastdds_network.xml)',
    'rmw_cyclonedds': 'give UDP a larger receive buffer: `sudo sysctl -w '
                      'net.core.rmem_max=2147483647`, and in the file that CYCLONEDDS_URI names '
                      'SocketReceiveBufferSize with min="10MB"',
    'rmw_zenoh': 'let Zenoh use shared memory, here and in the process of the camera: '
                 '`export ZENOH_CONFIG_OVERRIDE=transport/shared_memory/enabled=true`',
}
_RELIABLE = 'let the camera publish with reliable QoS'


def remedy_for_losses(middleware: str, reliable: bool) -> str:
    """
    Return what helps against losses of images with a middleware, such as `rmw_fastrtps_cpp`.

    `reliable` tells that lost images are sent again already.
    """
    remedies = [text for name, text in _REMEDIES.items() if middleware.startswith(name)]
    if not reliable:
        remedies.append(_RELIABLE)
    return ', or '.join([*remedies, 'send smaller or compressed images'])
