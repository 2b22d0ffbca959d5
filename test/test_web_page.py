"""The page in a browser, beside a real node on the demo."""

from contextlib import contextmanager
from contextlib import ExitStack
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys

from graph import DOMAINS
import pytest

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


class Robot:
    """A node in rendered streets, which can end and start again."""

    def __init__(self):
        self._stack = ExitStack()

    def start(self):
        self._stack.enter_context(running(
            'segment', 'model:=demo', 'short_side:=112', 'prompts:=simple',
            'vocabulary:=[sky, road, building, tree, car]'))

    def end(self):
        self._stack.close()


@pytest.fixture(scope='module')
def robot():
    with running('demo_camera', 'rate:=4.0', 'loop:=12', 'hard:=false'):
        made = Robot()
        made.start()
        yield made
        made.end()


@pytest.fixture(scope='module')
def url(robot):
    """Return where the page is."""
    with running('web', 'port:=0') as page:
        yield re.search(r'http\S+', page.stdout.readline())[0]


@pytest.fixture(scope='module')
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, url):
    """Return a function that opens the page in a browser of its own, and waits for a picture."""
    contexts, errors = [], []

    def open_page(**options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.on('console', lambda said: said.type == 'error' and 'ERR_CONNECTION' not in said.text
                and errors.append(said.text))
        page.goto(url)
        expect(page.locator('#figures')).to_contain_text('frames/s', timeout=2 * TIMEOUT)
        expect(page.locator('#waiting')).to_be_empty(timeout=TIMEOUT)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


def tab(page, name):
    page.get_by_role('tab', name=name).click()


def test_the_picture_tells_what_is_under_the_pointer(visit):
    page = visit()
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


def test_words_are_added_renamed_and_refused(visit):
    page = visit()
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


def test_a_phrase_is_found_where_it_is(visit):
    page = visit()
    tab(page, 'Find')
    page.get_by_label('Threshold').evaluate(
        "slider => { slider.value = 0.3; slider.dispatchEvent(new Event('change')); }")
    page.get_by_label('Look for').fill('a road')
    page.locator('#find').get_by_role('button', name='Find', exact=True).click()
    expect(page.locator('#find .hits li').first).to_contain_text('a road', timeout=TIMEOUT)
    expect(page.locator('#find .hits li').first).to_have_text(re.compile(r'a road\s*\d+ %'))
    expect(page.locator('[name=shown][value=heat]')).to_be_checked()
    page.hover('#picture', position={'x': 300, 'y': 300})
    expect(page.locator('#reading')).to_contain_text('heat', timeout=TIMEOUT)
    page.get_by_label('Look for').fill(' '.join(['word'] * 200))
    page.locator('#find').get_by_role('button', name='Find', exact=True).click()
    expect(page.locator('#find [role=alert]')).not_to_be_empty(timeout=TIMEOUT)
    page.get_by_role('button', name='Stop looking for a road').click()
    expect(page.locator('#find .chip')).to_have_count(0)


def test_a_thing_is_taught_by_a_box_in_a_frozen_picture(visit):
    page = visit()
    tab(page, 'Teach')
    page.get_by_role('button', name='Freeze').click()
    expect(page.locator('#teach')).to_contain_text('Held.', timeout=TIMEOUT)
    expect(page.locator('#figures')).to_contain_text('held')
    before = page.locator('#picture').evaluate('canvas => canvas.toDataURL()')
    area = page.locator('#picture').bounding_box()
    page.mouse.move(area['x'] + area['width'] * 0.4, area['y'] + area['height'] * 0.6)
    page.mouse.down()
    page.mouse.move(area['x'] + area['width'] * 0.6, area['y'] + area['height'] * 0.9, steps=4)
    page.mouse.up()
    x, y, width, height = (int(page.locator('#teach').get_by_label(side, exact=True).input_value())
                           for side in ('x', 'y', 'width', 'height'))
    assert abs(y - 0.6 * 240) < 3 and abs(height - 0.3 * 240) < 3
    assert 0 < x < 160 < x + width < 320
    assert page.locator('#picture').evaluate('canvas => canvas.toDataURL()') != before
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(page.locator('#teach [role=alert]')).to_have_text('Name what is marked.')
    page.get_by_label('Name of what is marked').fill('lane')
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(page.locator('#teach .thumbs img')).to_have_count(1, timeout=TIMEOUT)
    expect(page.locator('#teach [role=status]').last).to_contain_text('lane: 1 example')
    page.get_by_role('button', name='Let go').click()
    expect(page.locator('#figures')).to_contain_text('frames/s', timeout=TIMEOUT)
    page.get_by_role('button', name='Forget the last').click()
    expect(page.locator('#teach .thumbs')).to_have_count(0, timeout=TIMEOUT)
    tab(page, 'Words')
    expect(page.locator('#words .chip', has_text='lane')).to_be_visible(timeout=TIMEOUT)


def test_settings_are_what_the_node_says_they_are(visit):
    page = visit()
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
    threads = page.locator('.setting', has=page.locator('#setting-threads'))
    expect(threads.locator('.badge')).to_have_text('needs a reconfigure')
    page.fill('#setting-threads', '1')
    threads.get_by_role('button', name='Apply and reconfigure').click()
    expect(page.locator('#messages')).to_contain_text('threads is set', timeout=2 * TIMEOUT)
    expect(threads.get_by_role('button')).to_be_hidden()
    tab(page, 'Status')
    expect(page.locator('#status')).to_contain_text('Active: the node segments.', timeout=TIMEOUT)


def test_the_lifecycle_has_buttons_and_the_page_says_what_it_waits_for(visit):
    page = visit()
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


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_a_phone_is_wide_enough_and_axe_finds_nothing_serious(visit, scheme):
    page = visit(viewport={'width': 390, 'height': 844}, color_scheme=scheme, has_touch=True)
    for name in ('Words', 'Find', 'Teach', 'Settings', 'Status'):
        tab(page, name)
        page.wait_for_timeout(250)
        assert page.evaluate('document.documentElement.scrollWidth') <= 390, name
        found = axe.Axe().run(page).response['violations']
        assert not [(each['id'], [node['html'] for node in each['nodes']]) for each in found
                    if each['impact'] in ('serious', 'critical')], name
    dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (dark == 'rgb(15, 21, 20)') == (scheme == 'dark')


def test_the_page_goes_on_when_its_server_does(chromium, robot):
    """It says what it waits for, and goes on when that is there."""
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    try:
        with running('web', 'port:=0') as first:
            place = re.search(r'http\S+', first.stdout.readline())[0]
            page.goto(place)
            expect(page.locator('#waiting')).to_be_empty(timeout=TIMEOUT)
        expect(page.locator('#condition')).to_contain_text('connection is lost', timeout=TIMEOUT)
        with running('web', f'port:={place.split(":")[2].strip("/")}', 'read_only:=true'):
            expect(page.locator('#waiting')).to_be_empty(timeout=TIMEOUT)
            # For an audience by now.
            expect(page.get_by_role('button', name='Apply')).to_be_hidden(timeout=TIMEOUT)
            expect(page.locator('#words .chips button')).to_have_count(0)
    finally:
        context.close()


def test_the_page_goes_on_when_the_node_does(visit, robot):
    page = visit()
    robot.end()
    expect(page.locator('#condition')).to_contain_text('No segment node', timeout=TIMEOUT)
    expect(page.locator('#waiting')).to_contain_text('Waiting for a segment node', timeout=TIMEOUT)
    robot.start()
    expect(page.locator('#words [role=status]')).to_contain_text('version 1', timeout=TIMEOUT)
