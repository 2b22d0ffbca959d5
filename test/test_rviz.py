"""The window of RViz: a panel for what there is, and none for what there is not."""

from pathlib import Path
import struct

from csa_ros.adapters.rviz import arrange
from csa_ros.adapters.rviz import View
import pytest
import yaml

TEMPLATE = yaml.safe_load(
    (Path(__file__).resolve().parents[1] / 'config/segment.rviz').read_text())


def views(count):
    return [View(f'camera{number}', f'/camera{number}/image', f'/segment/camera{number}/overlay')
            for number in range(count)]


def read_panels(config):
    """Return the rectangles of the panels by their names, read as Qt reads its state."""
    state = bytes.fromhex(config['Window Geometry']['QMainWindow State'])
    # Version marker, version, marker and number of areas; side, width and height of the first.
    assert state[:13].hex() == '000000ff00000000fd00000002'
    position, (_, width, height) = 25, struct.unpack('>3i', state[13:25])

    def take(kind):
        nonlocal position
        values = struct.unpack_from(f'>{kind}', state, position)
        position += struct.calcsize(f'>{kind}')
        return values

    panels = {}
    marker, orientation, rows = take('cbi')
    assert (marker, orientation) == (b'\xfc', 2)
    for _ in range(rows):
        marker, top, tall, *_, inner, orientation, columns = take('c4icbi')
        assert (marker, inner, orientation) == (b'\xfc', b'\xfc', 1)
        for _ in range(columns):
            marker, size = take('ci')
            name, = take(f'{size}s')
            visible, left, wide, *_ = take('b4i')
            assert (marker, visible) == (b'\xfb', 1)
            panels[name.decode('utf-16-be')] = (left, top, wide, tall)
    # Behind it comes the area at the right, with the list of the displays.
    assert take('i') == (1,)
    return panels, (width, height)


def test_one_camera_is_what_the_template_has():
    assert arrange(TEMPLATE, [View('', '/image', '/segment/overlay')]) == TEMPLATE


@pytest.mark.parametrize('count', [1, 2, 3, 5, 16])
def test_each_camera_has_its_panels(count):
    before = yaml.safe_dump(TEMPLATE)
    config = arrange(TEMPLATE, views(count))
    assert yaml.safe_dump(TEMPLATE) == before
    displays = config['Visualization Manager']['Displays']
    assert {display['Name']: display['Topic']['Value'] for display in displays} == {
        f'{kind} {view.name}': topic for view in views(count)
        for kind, topic in (('Input', view.image), ('Overlay', view.overlay))}
    # As the camera and the node offer it.
    assert {display['Topic']['Reliability Policy'] for display in displays
            if display['Name'].startswith('Input')} == {'Best Effort'}
    panels, (width, height) = read_panels(config)
    assert list(panels) == [display['Name'] for display in displays]
    assert set(panels) == {name for name in config['Window Geometry']
                           if name.startswith(('Input', 'Overlay'))}
    for left, top, wide, tall in panels.values():
        assert 0 <= left < left + wide <= width and 0 < top < top + tall <= height + 17
        assert wide > 150 and tall > 90
    for view in views(count):
        # Beside one another.
        assert panels[f'Input {view.name}'][1] == panels[f'Overlay {view.name}'][1]
    boxes = sorted(panels.values())
    assert all(a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1]
               or b[1] + b[3] <= a[1] for a in boxes for b in boxes if a != b)
