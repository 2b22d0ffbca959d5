"""The page in a browser, beside a real node on the demo."""

import array
from contextlib import contextmanager
from contextlib import ExitStack
import functools
import gc
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import threading

from csa_ros.demo.camera import DemoCamera
from csa_ros.ros.node import SegmentNode
from graph import DOMAINS
from graph import wait_for
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

pytest.importorskip('aiohttp', reason='aiohttp serves the page')
playwright = pytest.importorskip('playwright.sync_api', reason='playwright drives the browser')
axe = pytest.importorskip('axe_playwright_python.sync_playwright', reason='axe judges the page')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason='there is no Chromium: apt-get install chromium')

ROOT = Path(__file__).resolve().parents[1]
expect = playwright.expect
# The model is loaded and words are encoded meanwhile, on a machine that may be busy.
TIMEOUT = 60_000
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync']
# Beyond those of the graphs of other tests.
DOMAIN = DOMAINS + 6


# Metres, of all that the camera sees.
DEPTH = 7.0


@contextmanager
def running(name, *parameters):
    """Run an executable of the package with some parameters."""
    process = subprocess.Popen(
        [sys.executable, ROOT / 'bin' / name, '--ros-args',
         *(part for parameter in parameters for part in ('-p', parameter))],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, 'ROS_DOMAIN_ID': str(DOMAIN)})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


@contextmanager
def spinning(make, **parameters):
    """Spin in a thread what a function makes of a context and of parameters: a node."""
    context, ended = Context(), threading.Event()
    rclpy.init(context=context, domain_id=DOMAIN)
    executor = SingleThreadedExecutor(context=context)
    node = make(context=context, parameter_overrides=[
        Parameter(name, value=value) for name, value in parameters.items()])

    def spin():
        if isinstance(node, SegmentNode):
            node.trigger_configure()
            node.trigger_activate()
        executor.add_node(node)
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield node
    finally:
        ended.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
        # A node and its state machine hold each other: until they are freed, it is on the graph.
        node = executor = None
        gc.collect()


class DepthCamera(DemoCamera):
    """A camera in rendered streets which are all as far away."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        depth = self.create_publisher(Image, 'depth', 5)
        self.create_subscription(Image, 'image', lambda image: depth.publish(
            make_depth(header=image.header)), 5)


def make_depth(header, width=32, height=24):
    depth = Image(header=header, width=width, height=height, encoding='32FC1', step=4 * width)
    depth.data = array.array('B', np.full((height, width), DEPTH, np.float32).tobytes())
    return depth


class Robot:
    """A node and the server of its page, each of which can end and start again."""

    def __init__(self):
        self._node, self._page = ExitStack(), ExitStack()
        self.node = None
        self.url = 'http://127.0.0.1:0'

    def start(self):
        self.node = self._node.enter_context(spinning(
            SegmentNode, model='demo', short_side=112, prompts='simple', precision='fp32',
            vocabulary=['sky', 'road', 'building', 'tree', 'car']))

    def end(self):
        self.node = None
        self._node.close()

    def serve(self, *parameters):
        """Serve the page where it was before."""
        port = self.url.strip('/').rpartition(':')[2]
        page = self._page.enter_context(running('web', f'port:={port}', *parameters))
        self.url = re.search(r'http\S+', page.stdout.readline())[0]

    def hang_up(self):
        self._page.close()


@pytest.fixture(scope='module')
def robot(chromium):
    with spinning(DepthCamera, rate=5.0, loop=12, hard=False):
        made = Robot()
        made.start()
        made.serve()
        yield made
        made.hang_up()
        made.end()


@pytest.fixture(scope='module')
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def open_page(chromium, robot):
    """Return a function that opens the page in a browser of its own, and waits for a picture."""
    errors = []

    def open_in(stack, **options):
        context = chromium.new_context(**options)
        stack.callback(context.close)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.on('console', lambda said: said.type == 'error' and 'ERR_CONNECTION' not in said.text
                and errors.append(said.text))
        page.goto(robot.url)
        expect(page.locator('#figures')).to_contain_text('frames/s', timeout=2 * TIMEOUT)
        expect(page.locator('#waiting')).to_be_empty(timeout=TIMEOUT)
        return page

    yield open_in
    assert not errors


@pytest.fixture
def visit(open_page):
    """Return a function that opens the page for one test."""
    with ExitStack() as stack:
        yield functools.partial(open_page, stack)


@pytest.fixture(scope='module')
def page(open_page):
    """Return the page in a browser that stays: each test chooses its tab."""
    with ExitStack() as stack:
        yield open_page(stack)


def tab(page, name):
    page.get_by_role('tab', name=name).click()


def test_the_picture_tells_what_is_under_the_pointer(page):
    page.hover('#picture')
    expect(page.locator('#reading')).to_have_text(
        re.compile(r'^(sky|road|building|tree|car) · id [0-4] · confidence \d+ %'),
        timeout=TIMEOUT)
    shares = [int(text) for text in re.findall(r'(\d+) %', page.inner_text('#words .chips'))]
    assert len(shares) == 5 and 95 <= sum(shares) <= 105
    # What the browser reads as ids are those of the legend, and no others.
    page.get_by_label('Side by side').check()
    expect(page.locator('#layer')).to_be_visible()
    page.get_by_text('Confidence', exact=True).click()
    expect(page.locator('[name=shown][value=confidence]')).to_be_checked()
    page.get_by_label('Side by side').uncheck()


def test_words_are_added_renamed_and_refused(page, visit):
    tab(page, 'Words')
    words = page.locator('#words')
    words.get_by_label('New word').fill('bus|coach, Sky')
    words.get_by_role('button', name='Add').click()
    expect(words.locator('.chip.new')).to_have_count(2)
    words.get_by_role('button', name='Apply').click()
    # In the node's own words, and the draft stays.
    expect(words.get_by_role('alert')).to_contain_text('both named', timeout=TIMEOUT)
    expect(words.locator('.chip.new')).to_have_count(2)
    words.get_by_role('button', name='Remove Sky', exact=True).click()
    words.locator('.chip', has_text='tree').locator('.name').click()
    words.get_by_label('Name').fill('plant')
    words.get_by_role('button', name='Keep').click()
    expect(words.locator('.chip.gone')).to_have_text('tree')
    words.get_by_role('button', name='Apply').click()
    expect(words.locator('[role=alert]')).to_be_empty()
    expect(words.get_by_role('status')).to_contain_text('In force: version 2', timeout=TIMEOUT)
    expect(words.locator('.chip.new')).to_have_count(0)
    assert 'plant' in words.inner_text() and 'bus' in words.inner_text()
    assert words.locator('.chip', has_text='plant').locator('.name').get_attribute(
        'title') == 'plant=tree'
    # Another browser sees it, too.
    expect(visit().locator('#words .chip', has_text='plant')).to_be_visible()


def test_boxes_are_around_what_there_is_of_a_class(page, robot):
    tab(page, 'Words')
    words = page.locator('#words')
    boxes = words.get_by_role('button', name='Boxes around building')
    boxes.click()
    seen = words.get_by_text('In boxes:')
    expect(seen).to_have_text(re.compile(r': \d+ × building$'), timeout=TIMEOUT)
    expect(boxes).to_have_attribute('aria-pressed', 'true')
    words.get_by_role('button', name='Boxes around road').click()
    expect(seen).to_have_text(re.compile(r': \d+ × building, \d+ × road$'), timeout=TIMEOUT)
    assert robot.node.get_parameter('object_classes').value == ['building', 'road']
    # A word that goes takes its boxes along.
    words.get_by_role('button', name='Remove road').click()
    words.get_by_role('button', name='Apply').click()
    expect(seen).to_have_text(re.compile(r': \d+ × building$'), timeout=TIMEOUT)
    boxes.click()
    expect(boxes).to_have_attribute('aria-pressed', 'false')
    expect(seen).to_have_count(0)
    assert robot.node.get_parameter('object_classes').value == ''


def test_a_phrase_is_found_where_it_is_and_how_far_away(page):
    tab(page, 'Find')
    page.get_by_label('Threshold').evaluate(
        "slider => { slider.value = 0.3; slider.dispatchEvent(new Event('change')); }")
    page.get_by_label('Look for').fill('a building')
    page.locator('#find').get_by_role('button', name='Find', exact=True).click()
    first = page.locator('#find .hits li').first
    expect(first).to_have_text(re.compile(r'a building\s*\d+ %\s*\d+\.\d m'), timeout=TIMEOUT)
    metres = float(re.search(r'(\S+) m$', first.inner_text())[1])
    # From the camera, and not from its plane.
    assert DEPTH <= metres < 1.5 * DEPTH
    expect(page.locator('[name=shown][value=heat]')).to_be_checked()
    page.hover('#picture', position={'x': 300, 'y': 300})
    expect(page.locator('#reading')).to_contain_text('heat', timeout=TIMEOUT)
    page.get_by_label('Look for').fill(' '.join(['word'] * 200))
    page.locator('#find').get_by_role('button', name='Find', exact=True).click()
    expect(page.locator('#find [role=alert]')).not_to_be_empty(timeout=TIMEOUT)
    page.get_by_role('button', name='Stop looking for a building').click()
    expect(page.locator('#find .chip')).to_have_count(0)


def drag(page, *places):
    """Draw on the picture from place to place, in shares of it."""
    area = page.locator('#picture').bounding_box()
    for number, (x, y) in enumerate(places):
        page.mouse.move(area['x'] + area['width'] * x, area['y'] + area['height'] * y, steps=4)
        if not number:
            page.mouse.down()
    page.mouse.up()


def pixel(picture):
    """Return red, green and blue in the middle of the picture."""
    return picture.evaluate(
        'canvas => [...canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, '
        '1, 1).data].slice(0, 3)')


def test_things_are_taught_in_a_frozen_picture(page, robot):
    tab(page, 'Teach')
    panel = page.locator('#teach')
    page.get_by_role('button', name='Freeze').click()
    expect(panel).to_contain_text('Held.', timeout=TIMEOUT)
    expect(page.locator('#figures')).to_contain_text('held')
    before = page.locator('#picture').evaluate('canvas => canvas.toDataURL()')
    drag(page, (0.4, 0.6), (0.6, 0.9))
    x, y, width, height = (int(panel.get_by_label(side, exact=True).input_value())
                           for side in ('x', 'y', 'width', 'height'))
    assert abs(y - 0.6 * 240) < 3 and abs(height - 0.3 * 240) < 3
    assert 0 < x < 160 < x + width < 320
    assert page.locator('#picture').evaluate('canvas => canvas.toDataURL()') != before
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(panel.get_by_role('alert')).to_have_text('Name what is marked.')
    page.get_by_label('Name of what is marked').fill('lane')
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(panel.locator('.thumbs img')).to_have_count(1, timeout=TIMEOUT)
    expect(panel.get_by_role('status').last).to_contain_text('lane: 1 example')
    # By the brush, in one piece alone.
    panel.get_by_text('Brush', exact=True).first.click()
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(panel.get_by_role('alert')).to_contain_text('Paint over the thing first')
    # A dot, which is seen.
    center = page.locator('#picture')
    before = pixel(center)
    center.press('Space')
    wait_for(lambda: pixel(center)[0] > before[0] + 30 and pixel(center)[2] < before[2], 'a dot')
    panel.get_by_role('button', name='Clear').click()
    wait_for(lambda: pixel(center) == before, 'the picture without it')
    panel.get_by_label('Brush', exact=True).last.fill('30')
    drag(page, (0.4, 0.75), (0.6, 0.75))
    drag(page, (0.2, 0.2), (0.25, 0.2))
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(panel.get_by_role('alert')).to_contain_text('in 2 pieces', timeout=TIMEOUT)
    panel.get_by_role('button', name='Undo').click()
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(panel.locator('.thumbs img')).to_have_count(2, timeout=TIMEOUT)
    expect(panel.get_by_role('button', name='Undo')).to_be_disabled()
    corners = np.reshape(robot.node.get_parameter('teach_region').value, (-1, 2))
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    np.testing.assert_allclose((top, bottom), (0.75 * 240 - 15, 0.75 * 240 + 15), atol=3)
    assert abs(left + right - 320) < 6 and 30 + 0.2 * 320 < right - left + 3 < 160
    # The node knows how it looks, and every other page does.
    page.reload()
    expect(panel.locator('.thumbs img')).to_have_count(2, timeout=TIMEOUT)
    assert panel.locator('.thumbs img').last.evaluate('picture => picture.naturalWidth') > 60
    page.get_by_role('button', name='Let go').click()
    expect(page.locator('#figures')).to_contain_text('frames/s', timeout=TIMEOUT)
    page.get_by_role('button', name='Forget the last').click()
    expect(panel.locator('.thumbs img')).to_have_count(1, timeout=TIMEOUT)
    page.get_by_role('button', name='Forget all of lane').click()
    expect(panel.locator('.thumbs')).to_have_count(0, timeout=TIMEOUT)
    tab(page, 'Words')
    expect(page.locator('#words .chip', has_text='lane')).to_be_visible(timeout=TIMEOUT)


def test_settings_are_what_the_node_says_they_are(page):
    tab(page, 'Settings')
    row = page.locator('.setting', has=page.locator('#setting-unknown_threshold'))
    row.get_by_label('as a slider').fill('0.25')
    expect(page.locator('#setting-unknown_threshold')).to_have_value('0.25')
    row.get_by_role('button', name='Apply').click()
    expect(row.get_by_role('button')).to_be_hidden(timeout=TIMEOUT)
    stride = page.locator('.setting', has=page.locator('#setting-stride'))
    page.fill('#setting-stride', '2000')
    stride.get_by_role('button', name='Apply').click()
    expect(stride.get_by_role('alert')).to_contain_text('stride', timeout=TIMEOUT)
    refine = page.locator('#setting-refine')
    assert refine.locator('option').all_inner_texts() == ['off', 'pamr', 'pamr-output']
    assert page.locator('#setting-examples').is_disabled()
    precision = page.locator('.setting', has=page.locator('#setting-precision'))
    expect(precision.locator('.badge')).to_have_text('needs a reconfigure')
    page.select_option('#setting-precision', 'auto')
    precision.get_by_role('button', name='Apply and reconfigure').click()
    expect(page.locator('#messages')).to_contain_text('precision is set', timeout=2 * TIMEOUT)
    expect(precision.get_by_role('button')).to_be_hidden()
    tab(page, 'Status')
    expect(page.locator('#status')).to_contain_text('Active: the node segments.', timeout=TIMEOUT)


def test_the_lifecycle_has_buttons_and_the_page_says_what_it_waits_for(page):
    tab(page, 'Status')
    expect(page.locator('#status dl')).to_contain_text('labels out (1/s)')
    page.get_by_role('button', name='Deactivate').click()
    # The camera is shown on.
    expect(page.locator('#condition')).to_contain_text('The node is inactive', timeout=TIMEOUT)
    expect(page.locator('#figures')).to_contain_text('frames/s')
    page.get_by_role('button', name='Activate', exact=True).click()
    expect(page.locator('#condition')).to_contain_text('frames/s', timeout=TIMEOUT)


def test_the_keyboard_is_enough(visit):
    page = visit()

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)

    press('Tab')
    expect(page.get_by_text('Skip the picture')).to_be_focused()
    press('Tab', 'Tab')
    expect(page.locator('#picture')).to_be_focused()
    press('ArrowRight', 'ArrowDown')
    expect(page.locator('#reading')).to_contain_text('id ', timeout=TIMEOUT)
    press('Tab', 'Tab', 'Tab', 'Tab')
    expect(page.locator('#tab-words')).to_be_focused()
    press('Tab', 'Tab', 'Enter')
    # The first word was opened, and its name can be typed.
    expect(page.locator('#words').get_by_label('Name')).to_be_visible()
    page.get_by_role('button', name='Cancel').press('Enter')
    page.focus('#tab-words')
    press('ArrowRight', 'ArrowRight')
    expect(page.locator('#tab-teach')).to_be_focused()
    expect(page.locator('#teach')).to_be_visible()
    page.focus('#picture')
    press('ArrowRight', 'Shift+ArrowDown')
    assert page.locator('#teach').get_by_label('width', exact=True).input_value() == '80'
    # 60 and a step of 1/50 of the height.
    assert page.locator('#teach').get_by_label('height', exact=True).input_value() == '65'
    page.get_by_role('radio', name='Box').press('ArrowRight')
    page.focus('#picture')
    press('Space', 'Shift+ArrowRight')
    undo = page.get_by_role('button', name='Undo')
    undo.press('Enter')
    expect(undo).to_be_enabled()
    undo.press('Enter')
    expect(undo).to_be_disabled()


def test_a_phone_is_wide_enough_and_axe_finds_nothing_serious(visit):
    page = visit(viewport={'width': 390, 'height': 844}, color_scheme='light', has_touch=True,
                 reduced_motion='reduce')
    for name in ('Words', 'Find', 'Teach', 'Settings', 'Status'):
        tab(page, name)
        assert page.evaluate('document.documentElement.scrollWidth') <= 390, name
    # All tabs at once, each of which was filled when it was chosen: axe takes a second each time.
    page.evaluate('document.querySelectorAll("[role=tabpanel]").forEach('
                  'panel => { panel.hidden = false; })')
    # What is dark differs in its colours alone.
    for scheme, color, options in (('light', 'rgb(246, 247, 247)', None),
                                   ('dark', 'rgb(15, 21, 20)', {'runOnly': ['color-contrast']})):
        page.emulate_media(color_scheme=scheme)
        assert color == page.evaluate('getComputedStyle(document.body).backgroundColor')
        answer = axe.Axe().run(page, options=options).response
        assert any(each['id'] == 'color-contrast' for each in answer['passes'])
        assert not [(each['id'], [node['html'] for node in each['nodes']])
                    for each in answer['violations'] if each['impact'] in ('serious', 'critical')]
    # With a finger.
    tab(page, 'Teach')
    page.locator('#teach').get_by_text('Brush', exact=True).first.tap()
    page.locator('#picture').tap()
    expect(page.get_by_role('button', name='Undo')).to_be_enabled()
    assert page.evaluate('document.documentElement.scrollWidth') <= 390


def test_the_page_goes_on_when_the_node_and_its_server_do(page, robot):
    """It says what it waits for, and goes on when that is there."""
    tab(page, 'Words')
    robot.end()
    expect(page.locator('#condition')).to_contain_text('No segment node', timeout=TIMEOUT)
    expect(page.locator('#waiting')).to_contain_text('Waiting for a segment node', timeout=TIMEOUT)
    robot.hang_up()
    expect(page.locator('#condition')).to_contain_text('connection is lost', timeout=TIMEOUT)
    robot.start()
    robot.serve('read_only:=true')
    expect(page.locator('#waiting')).to_be_empty(timeout=TIMEOUT)
    expect(page.locator('#words [role=status]')).to_contain_text('version 1', timeout=TIMEOUT)
    # For an audience by now.
    expect(page.get_by_role('button', name='Apply')).to_be_hidden(timeout=TIMEOUT)
    expect(page.locator('#words .chips button')).to_have_count(0)
