"""The executable hydra_labels: words or a live node in, Hydra's two files out."""

import os
from pathlib import Path
import signal
import subprocess
import sys

from csa_ros.tools import hydra_labels
from csa_ros.tools.hydra_labels import main
from graph import wait_for
import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from std_msgs.msg import String
import yaml

ROOT = Path(__file__).resolve().parents[1]


def names_in(folder):
    path = folder / 'csa_ros_label_space.yaml'
    if not path.exists():
        return None
    return [item['name'] for item in yaml.safe_load(path.read_text())['label_names']]


def colors_in(folder):
    return [line.split(',')[0] for line in (folder / 'csa_ros.csv').read_text().splitlines()[1:]]


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_words_of_the_command_line(tmp_path, capsys):
    folder = tmp_path / 'not/there/yet'
    assert main(['--output', str(folder), '--vocabulary', '@street, dog', '--name', 'mine']) == 0
    assert files_in(folder) == ['mine.csv', 'mine_label_space.yaml']
    space = yaml.safe_load((folder / 'mine_label_space.yaml').read_text())
    assert space['total_semantic_labels'] == 14
    assert space['dynamic_labels'] == [9, 13]
    assert space['invalid_labels'] == [0, 255]
    assert space['surface_places_labels'] == [1, 2, 3]
    printed = capsys.readouterr().out
    assert 'mine_label_space.yaml' in printed
    assert '  dynamic: person, dog\n' in printed


def test_roles_of_the_command_line(tmp_path):
    main(['--output', str(tmp_path), '--vocabulary', 'sky, road, car, bus', '--dynamic',
          'car, Bus', '--structure', 'road'])
    space = yaml.safe_load((tmp_path / 'csa_ros_label_space.yaml').read_text())
    assert space['dynamic_labels'] == [2, 3]
    assert space['surface_places_labels'] == space['object_labels'] == []


def test_words_need_no_ros(tmp_path):
    code = ('import sys; from csa_ros.tools.hydra_labels import main; '
            f'main(["--output", {str(tmp_path)!r}, "--vocabulary", "road"]); '
            'sys.exit("rclpy" in sys.modules)')
    environment = os.environ | {'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'}
    subprocess.run([sys.executable, '-c', code], env=environment, check=True, timeout=60)
    assert names_in(tmp_path) == ['road']


@pytest.mark.parametrize('arguments, reason', [
    (['--vocabulary', 'road', '--dynamic', 'car'], "the vocabulary has no class 'car'"),
    (['--vocabulary', 'car', '--dynamic', 'car', '--object', 'Car'], 'both dynamic and object'),
    (['--vocabulary', 'car', '--dynamic', 'car,,bus'], 'empty name'),
    (['--vocabulary', 'car', '--name', '../car'], 'no name for files'),
    (['--vocabulary', 'car', '--name', ''], 'no name for files'),
    (['--vocabulary', 'car', '--legend', '/segment/legend'], 'not allowed with'),
])
def test_bad_arguments_are_refused(tmp_path, capsys, arguments, reason):
    with pytest.raises(SystemExit, match='2'):
        main(['--output', str(tmp_path), *arguments])
    assert reason in capsys.readouterr().err
    assert files_in(tmp_path) == []


@pytest.mark.parametrize('words, reason', [
    ('car, car', 'both named'), ('', 'empty'), ('@indor', 'use @indoor')])
def test_bad_words_are_refused(tmp_path, capsys, words, reason):
    assert main(['--output', str(tmp_path), '--vocabulary', words]) == 1
    assert reason in capsys.readouterr().err
    assert files_in(tmp_path) == []


def test_a_folder_that_cannot_be(tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert main(['--output', str(tmp_path / 'file'), '--vocabulary', 'road']) == 1
    assert str(tmp_path / 'file') in capsys.readouterr().err


def test_a_write_that_fails_leaves_the_file_of_before(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    hydra_labels.replace_text(path, 'before')

    def fill_disk(self, text, encoding):
        self.write_bytes(text[:2].encode())
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_text', fill_disk)
    with pytest.raises(OSError):
        hydra_labels.replace_text(path, 'after')
    assert path.read_text() == 'before'
    assert files_in(tmp_path) == ['file']


@pytest.fixture
def watch(graph, tmp_path):
    """Return a function that runs the executable on the graph's domain, with its output a file."""
    running = []
    folder = tmp_path / 'hydra'

    def start(*arguments):
        environment = os.environ | {
            'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}',
            'ROS_DOMAIN_ID': str(graph.domain)}
        with open(tmp_path / 'printed', 'w') as printed:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / 'bin/hydra_labels'), '--output', str(folder),
                 *arguments], env=environment, stdout=printed, stderr=printed)
        running.append(process)
        return process, folder, (tmp_path / 'printed').read_text

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_files_follow_the_words_of_a_live_node(graph, tmp_path, watch):
    process, folder, printed = watch('--dynamic', 'car')
    graph.start(tmp_path)
    wait_for(lambda: names_in(folder) == ['sky', 'road'], 'the first label space')
    assert graph.set_each(vocabulary='@street, car park=parking') == ['']
    wait_for(lambda: len(names_in(folder)) == 14, 'the second label space')
    space = yaml.safe_load((folder / 'csa_ros_label_space.yaml').read_text())
    assert space['dynamic_labels'] == [6, 9]
    # The label space is written last.
    assert colors_in(folder) == [*names_in(folder), 'unknown']
    assert files_in(folder) == ['csa_ros.csv', 'csa_ros_label_space.yaml']
    assert 'not in the vocabulary: car\n' in printed()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, printed()
    wait_for(lambda: 'hydra_labels' not in graph.client.get_node_names(), 'a goodbye', 10.0)


def test_a_late_comer_takes_the_legend_in_force_and_no_nonsense(graph, watch):
    publisher = graph.client.create_publisher(
        String, 'words', QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    publisher.publish(String(data='{"classes": 7}'))
    process, folder, printed = watch('--once', '--ros-args', '-r', 'segment/legend:=words')
    wait_for(lambda: 'no legend of a segment node' in printed(), 'a refusal')
    assert not folder.exists()
    publisher.publish(String(data='{"unknown_id": 255, "classes": [{"id": 0, "name": "tree", '
                                  '"queries": ["tree"], "color": [0, 99, 0]}]}'))
    assert process.wait(20) == 0, printed()
    wait_for(lambda: 'hydra_labels' not in graph.client.get_node_names(), 'a goodbye', 10.0)
    assert names_in(folder) == ['tree']
    assert colors_in(folder) == ['tree', 'unknown']
