"""The page's server: who gets in, and what it refuses."""

import asyncio
import json
import re

import aiohttp
from aiohttp import test_utils
from csa_ros.parameters.errors import ParameterError
from csa_ros.web import server
from csa_ros.web import viewer
from csa_ros.web.access import Access
from csa_ros.web.access import AccessError
from csa_ros.web.access import urls
from csa_ros.web.parameters import PARAMETERS
from csa_ros.web.parameters import read_settings
import pytest

TOKEN = 'a-token-of-some-length'


class Nothing:
    """A hub on a graph without any segment node."""

    def __init__(self):
        self.nodes = {}
        self.listeners = set()

    def stream(self, node, camera):
        return None

    def list_nodes(self):
        return []


def settings(**values):
    return read_settings({**{item.name: item.default for item in PARAMETERS}, **values})


def talk(work, read_only=False, **values):
    """Run a coroutine with a client of the server."""
    async def run():
        application = server.make_application(Nothing(), Access(settings(**values)), read_only)
        async with test_utils.TestClient(test_utils.TestServer(application)) as client:
            return await asyncio.wait_for(work(client), 20)
    return asyncio.run(run())


async def greeted(client, token='', **options):
    """Return a socket that was let in, without its first messages."""
    socket = await client.ws_connect('/socket', **options)
    await socket.send_json({'token': token})
    assert (await socket.receive_json())['type'] == 'hello'
    assert (await socket.receive_json()) == {'type': 'nodes', 'nodes': []}
    return socket


# Files

def test_files_are_served_with_all_that_keeps_others_out():
    async def work(client):
        answer = await client.get('/')
        return answer.headers, await answer.text()

    headers, text = talk(work)
    policy = dict(part.strip().split(' ', 1)
                  for part in headers['Content-Security-Policy'].split(';'))
    assert policy['default-src'] == policy['frame-ancestors'] == policy['base-uri'] == "'none'"
    assert policy['script-src'] == policy['style-src'] == policy['connect-src'] == "'self'"
    assert headers['X-Content-Type-Options'] == 'nosniff'
    assert headers['Referrer-Policy'] == 'no-referrer'
    assert 'Set-Cookie' not in headers
    # What the policy forbids is not there, and nothing comes from elsewhere.
    assert not re.search(r'<script(?![^>]* src=)|<style| style=| on\w+=|https?:', text)


def test_what_the_page_names_is_there_and_comes_from_here():
    async def work(client):
        page = await (await client.get('/')).text()
        wanted, seen = set(re.findall(r'(?:src|href)="([\w.]+)"', page)), {}
        while wanted - seen.keys():
            name = (wanted - seen.keys()).pop()
            answer = await client.get(f'/{name}')
            assert answer.status == 200, name
            seen[name] = await answer.text()
            wanted |= set(re.findall(r"from '\./([\w.]+)'", seen[name]))
        return seen

    seen = talk(work)
    assert {'main.js', 'picture.js', 'style.css'} <= seen.keys()
    # But for the name of SVG, which leads nowhere.
    assert not re.search(r'https?://(?!www\.w3\.org/2000/svg")', ''.join(seen.values()))


@pytest.mark.parametrize('path', [
    '/../setup.py', '/..%2f..%2fsetup.py', '/%2e%2e/server.py', '/static/main.js', '/index.html',
    '//etc/passwd', '/main.js/../../server.py', '/server.py', '/main.js%00.css'])
def test_no_other_path_leads_anywhere(path):
    async def work(client):
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(f'GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
                     .encode())
        answer = await reader.read()
        writer.close()
        return answer

    answer = talk(work)
    assert answer.startswith(b'HTTP/1.1 40')
    assert b'import' not in answer


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'OPTIONS'])
def test_files_are_for_reading_alone(method):
    async def work(client):
        answer = await client.request(method, '/', data=b'x' * 1000)
        return answer.status, answer.headers

    status, headers = talk(work)
    assert status == 405
    assert 'Content-Security-Policy' in headers


# Host and Origin

@pytest.mark.parametrize('host, values, status', [
    ('localhost', {}, 200), ('localhost:8780', {}, 200), ('127.0.0.1:1', {}, 200),
    ('[::1]:8780', {}, 200), ('evil.example', {}, 403), ('evil.example:8780', {}, 403),
    ('192.168.1.7', {}, 403), ('localhost.evil.example', {}, 403), ('', {}, 403),
    ('localhost@evil.example', {}, 403), ('localhost:port', {}, 403),
    ('192.168.1.7:8780', {'host': '0.0.0.0'}, 200), ('[fe80::1]', {'host': '0.0.0.0'}, 200),
    ('evil.example', {'host': '0.0.0.0'}, 403),
    ('Robot.Example', {'host': '0.0.0.0', 'host_names': 'robot.example'}, 200),
    ('robot.example', {'host_names': ['robot.example']}, 200)])
def test_host_is_one_of_this_machine(host, values, status):
    async def work(client):
        return [(await client.get(path, headers={'Host': host})).status
                for path in ('/', '/main.js')]

    assert talk(work, **values) == [status, status]


@pytest.mark.parametrize('origin, let_in', [
    ('http://localhost:8780', True), ('https://localhost:8780', True), (None, True),
    ('http://localhost', False), ('http://evil.example', False), ('null', False), ('', False)])
def test_origin_is_the_page_itself(origin, let_in):
    headers = {'Host': 'localhost:8780', **({} if origin is None else {'Origin': origin})}

    async def work(client):
        try:
            await greeted(client, headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        return 101

    assert talk(work) == (101 if let_in else 403)


# The token

@pytest.mark.parametrize('first, let_in', [
    (json.dumps({'token': TOKEN}), True), (json.dumps({'token': TOKEN + 'x'}), False),
    (json.dumps({'token': ''}), False), (json.dumps({'token': None}), False),
    (json.dumps({'token': ['a']}), False), (json.dumps({}), False), ('[]', False), ('{', False),
    (b'\x00', False)])
@pytest.mark.parametrize('host', ['0.0.0.0', '127.0.0.1'])
def test_a_token_lets_in_and_nothing_else_does(host, first, let_in):
    async def work(client):
        socket = await client.ws_connect('/socket')
        await (socket.send_bytes if isinstance(first, bytes) else socket.send_str)(first)
        answer = await socket.receive()
        return answer.type, socket.close_code

    kind, code = talk(work, host=host, token=TOKEN)
    if let_in:
        assert kind is aiohttp.WSMsgType.TEXT
    else:
        assert code == viewer.BAD_TOKEN


def test_who_says_no_token_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(viewer, 'TOKEN_TIMEOUT', 0.1)

    async def work(client):
        socket = await client.ws_connect('/socket')
        await socket.receive()
        return socket.close_code

    assert talk(work) == viewer.BAD_TOKEN


def test_a_token_is_made_for_other_machines_alone():
    assert Access(settings()).token == ''
    assert Access(settings(token=TOKEN)).token == TOKEN
    made = {Access(settings(host='0.0.0.0')).token for _ in range(2)}
    assert len(made) == 2 and all(len(token) >= 32 for token in made)
    with pytest.raises(AccessError, match='open the URL'):
        Access(settings(host='::')).check_token('é')


def test_the_token_is_compared_in_constant_time(monkeypatch):
    seen = []
    monkeypatch.setattr('csa_ros.web.access.hmac.compare_digest',
                        lambda *given: seen.append(given) or True)
    Access(settings(token=TOKEN)).check_token('other')
    assert seen == [(b'other', TOKEN.encode())]


def test_urls_have_the_token_where_browsers_do_not_send_it():
    assert urls(settings(), '', 8780) == ['http://127.0.0.1:8780/']
    assert urls(settings(host='::1'), TOKEN, 1) == [f'http://[::1]:1/#token={TOKEN}']
    assert all(url.endswith(f':1/#token={TOKEN}') for url in urls(
        settings(host='0.0.0.0'), TOKEN, 1))


# What is said over the socket

@pytest.mark.parametrize('text, reason', [
    ('{', 'object in JSON'), ('[1]', 'object in JSON'), ('[' * 50000, 'object in JSON'),
    ('{"type": NaN}', 'no NaN'), ('{"id": 3}', 'use watch, ack or act'),
    ('{"id": 3, "type": "shell"}', 'use watch, ack or act'),
    ('{"id": 3, "type": "watch"}', 'node and camera'),
    ('{"id": 3, "type": "watch", "node": "/a", "camera": 1, "kinds": []}', 'node and camera'),
    ('{"id": 3, "type": "watch", "node": "/a", "camera": "", "kinds": ["points"]}', 'kinds'),
    ('{"id": 3, "type": "watch", "node": "/a", "camera": "", "kinds": [[]]}', 'kinds'),
    ('{"id": 3, "type": "act", "action": "set"}', 'no segment node'),
    ('{"id": 3, "type": "act", "node": ["/a"]}', 'no segment node')])
def test_what_makes_no_sense_is_answered_with_the_reason(text, reason):
    async def work(client):
        socket = await greeted(client)
        await socket.send_str(text)
        refused = await socket.receive_json()
        # And the viewer is served on.
        await socket.send_json({'type': 'act', 'id': 4, 'node': '/b'})
        return refused, await socket.receive_json()

    refused, after = talk(work)
    assert (refused['type'], refused['ok']) == ('answer', False)
    assert reason in refused['message']
    assert refused['id'] == (3 if '"id": 3' in text else None)
    assert after['id'] == 4


def test_binary_messages_are_answered_as_well():
    async def work(client):
        socket = await greeted(client)
        await socket.send_bytes(b'\x00')
        return (await socket.receive_json())['message']

    assert 'text' in talk(work)


def test_messages_are_bounded():
    async def work(client):
        socket = await greeted(client)
        await socket.send_str('x' * (server.MOST_BYTES + 1))
        await socket.receive()
        return socket.close_code

    assert talk(work) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


def test_a_page_for_an_audience_changes_nothing():
    async def work(client):
        socket = await client.ws_connect('/socket')
        await socket.send_json({'token': ''})
        hello = await socket.receive_json()
        await socket.receive_json()
        await socket.send_json({'type': 'act', 'id': 1, 'node': '/segment', 'action': 'tune'})
        return hello, await socket.receive_json()

    hello, answer = talk(work, read_only=True)
    assert hello['read_only'] is True
    assert not answer['ok'] and 'read_only' in answer['message']


def test_so_many_browsers_and_no_more(monkeypatch):
    monkeypatch.setattr(server, 'MOST_VIEWERS', 2)

    async def work(client):
        sockets = [await greeted(client) for _ in range(2)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect('/socket')
        await sockets[0].close()
        while True:
            try:
                return refused.value.status, await greeted(client)
            except aiohttp.WSServerHandshakeError:
                await asyncio.sleep(0.05)

    assert talk(work)[0] == 503


def test_strangers_are_bounded_too(monkeypatch):
    monkeypatch.setattr(server, 'MOST_STRANGERS', 1)

    async def work(client):
        first = await client.ws_connect('/socket')
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect('/socket')
        await first.close()
        return refused.value.status

    assert talk(work) == 503


# Parameters

@pytest.mark.parametrize('values, reason', [
    ({'host': ''}, 'host is'), ({'host': 'robot'}, '0.0.0.0 for all'), ({'port': -1}, 'port is'),
    ({'port': 65536}, '65535'), ({'port': '80'}, 'whole number'), ({'token': 'short'}, '16'),
    ({'token': 'with spaces in it, and more'}, 'letters'), ({'token': 'ä' * 20}, 'letters'),
    ({'read_only': 'yes'}, 'true or false'), ({'host_names': ['a', 'a']}, '2 times')])
def test_bad_parameters_are_refused_with_what_to_do(values, reason):
    with pytest.raises(ParameterError, match=reason):
        settings(**values)
