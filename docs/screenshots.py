"""
Takes the pictures of the page: `scripts/docs --screenshots`.

The demo runs meanwhile. Needs Chromium (`apt-get install chromium`) and playwright.
"""

import os
from pathlib import Path
import re
import shutil
import socket
import sys
import time

from csa_ros.demo.run import processes
from playwright.sync_api import expect
from playwright.sync_api import Page
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
PORT = 8791
# Of ROS: nobody else takes part.
DOMAIN = 98
# Milliseconds, as Playwright has them.
TIMEOUT = 90_000
_FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
          '--disable-component-update', '--disable-sync']


def _wait_for_server() -> None:
    deadline = time.monotonic() + TIMEOUT / 1000
    while time.monotonic() < deadline:
        try:
            socket.create_connection(('localhost', PORT), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f'nothing listens on port {PORT}')


def _open(page: Page) -> None:
    page.set_default_timeout(TIMEOUT)
    page.goto(f'http://localhost:{PORT}/')
    expect(page.locator('#figures')).to_contain_text('frames/s', timeout=TIMEOUT)
    expect(page.locator('#words [role=status]')).to_contain_text('In force', timeout=TIMEOUT)


def _drag(page: Page, *places: tuple[float, float]) -> None:
    """Draw on the picture from place to place, in shares of it."""
    area = page.locator('#picture').bounding_box()
    assert area
    for number, (x, y) in enumerate(places):
        page.mouse.move(area['x'] + area['width'] * x, area['y'] + area['height'] * y, steps=9)
        if not number:
            page.mouse.down()
    page.mouse.up()


def take_words(page: Page) -> None:
    """Show the picture, what is under the pointer, the words, and boxes around people."""
    _open(page)
    page.get_by_role('button', name='Boxes around person').click()
    expect(page.get_by_text('In boxes:')).to_have_text(re.compile(': [1-9]'), timeout=TIMEOUT)
    page.hover('#picture')
    expect(page.locator('#reading')).to_contain_text('confidence', timeout=TIMEOUT)
    page.screenshot(path=DOCS / 'web.png')
    page.get_by_role('button', name='Boxes around person').click()


def take_teaching(page: Page) -> None:
    """Show what is painted in a frozen picture, and what was taught."""
    page.get_by_role('tab', name='Teach').click()
    page.get_by_role('button', name='Freeze').click()
    expect(page.locator('#teach')).to_contain_text('Held.', timeout=TIMEOUT)
    for box in (((0.4, 0.75), (0.6, 0.95)), ((0.3, 0.8), (0.45, 0.95))):
        _drag(page, *box)
        before = page.locator('#teach .thumbs img').count()
        page.get_by_label('Name of what is marked').fill('lane')
        page.get_by_role('button', name='Teach', exact=True).click()
        expect(page.locator('#teach .thumbs img')).to_have_count(before + 1, timeout=TIMEOUT)
    page.locator('#teach').get_by_text('Brush', exact=True).first.click()
    _drag(page, (0.42, 0.94), (0.48, 0.78), (0.54, 0.78), (0.6, 0.94), (0.42, 0.94))
    page.locator('#messages').evaluate('place => place.replaceChildren()')
    page.screenshot(path=DOCS / 'web_teach.png')
    page.get_by_role('button', name='Let go').click()


def main() -> int:
    """Take all pictures; return the exit status."""
    browser = shutil.which('chromium') or shutil.which('chromium-browser')
    if not browser:
        print('screenshots: there is no Chromium: apt-get install chromium', file=sys.stderr)
        return 1
    os.environ['ROS_DOMAIN_ID'] = str(DOMAIN)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    commands = {
        'demo_camera': ['--ros-args', '-p', 'rate:=2.0', '-p', 'hard:=false', '-p', 'seed:=3',
                        '-p', 'stay:=40.0', '-p', 'width:=640', '-p', 'height:=480'],
        'segment': ['--ros-args', '-p', 'model:=demo', '-p', 'max_rate:=2.0'],
        'web': ['--ros-args', '-p', f'port:={PORT}']}
    with processes(commands), sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=_FLAGS)
        _wait_for_server()
        page = chromium.new_page(viewport={'width': 1360, 'height': 860})
        take_words(page)
        take_teaching(page)
        phone = chromium.new_context(
            viewport={'width': 390, 'height': 844}, color_scheme='dark').new_page()
        _open(phone)
        phone.screenshot(path=DOCS / 'web_phone.png')
        chromium.close()
    return 0


if __name__ == '__main__':
    sys.exit(main())
