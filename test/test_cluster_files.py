"""The files with which others start a cluster: Kubernetes, and a Slurm allocation."""

import copy
import os
from pathlib import Path
import re
import shlex
import subprocess
import sys

from csa_ros.tools.arguments.segment_bag import make_parser
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SLURM = ROOT / 'config/slurm.sh'
TOOL = ['python', '-m', 'csa_ros.tools.segment_bag']
STUBS = {
    'hostname': 'echo 192.0.2.7 198.51.100.7',
    'python': f'exec {sys.executable} "$@"',
    # As one of its nodes.
    'srun': 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    'ray': r'printf "%s\n" "$@" >"$OUT/words"; env >"$OUT/env"; exit 3',
}


@pytest.fixture(scope='module')
def job():
    """Return what is asked of KubeRay."""
    return yaml.safe_load((ROOT / 'config/kuberay.yaml').read_text())['spec']


def groups(job):
    """Return the groups of pods, that of the first one first."""
    cluster = job['rayClusterSpec']
    return [cluster['headGroupSpec'], *cluster['workerGroupSpecs']]


def pod_of(group):
    """Return a pod of a group for Kubernetes alone."""
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'pod'},
            'spec': group['template']['spec']}


def container_of(group):
    container, = group['template']['spec']['containers']
    return container


def test_pods_follow_the_schema_of_kubernetes(job):
    kubernetes = pytest.importorskip('kubernetes_validate', reason='it has the schema')
    for group in groups(job):
        kubernetes.validate(pod_of(group), '1.37', strict=True)
    wrong = copy.deepcopy(pod_of(groups(job)[1]))
    wrong['spec']['containers'][0]['resource'] = {}
    with pytest.raises(kubernetes.ValidationError, match='resource'):
        kubernetes.validate(wrong, '1.37', strict=True)


def test_workers_that_are_asked_for_fill_the_machines_with_gpus(job):
    words = shlex.split(job['entrypoint'])
    assert words[:3] == TOOL
    options = make_parser().parse_args(words[3:])
    assert options.ray == ''
    gpu, cpu = job['rayClusterSpec']['workerGroupSpecs']
    limits = container_of(gpu)['resources']['limits']
    held = gpu['maxReplicas'] * int(limits['nvidia.com/gpu'])
    assert options.ray_workers * options.ray_gpus == pytest.approx(held)
    assert options.ray_workers <= gpu['maxReplicas'] * int(limits['cpu'])
    assert 'nvidia.com/gpu' not in container_of(cpu)['resources']['limits']


def test_all_pods_are_of_one_image_with_memory_that_ray_shares(job):
    assert len({container_of(group)['image'] for group in groups(job)}) == 1
    for group in groups(job):
        (volume,), (mount,) = group['template']['spec']['volumes'], container_of(
            group)['volumeMounts']
        assert (mount['name'], mount['mountPath']) == (volume['name'], '/dev/shm')
        # In Mi, beside what Ray lays there.
        size = int(volume['emptyDir']['sizeLimit'].removesuffix('Mi')) * 2 ** 20
        assert int(group['rayStartParams']['object-store-memory']) < size


def test_nobody_comes_in_without_a_token(job):
    assert job['rayClusterSpec']['authOptions'] == {'mode': 'token'}


def test_ray_is_that_of_the_image(job):
    of_image, = re.findall(r'^ARG RAY=([\d.]+)-py', (ROOT / 'docker/Dockerfile').read_text(), re.M)
    assert job['rayClusterSpec']['rayVersion'] == of_image


@pytest.fixture
def submitted(tmp_path):
    """Run the script for Slurm as the first node would; return what it has given to Ray."""
    for name, script in STUBS.items():
        (tmp_path / name).write_text(f'#!/usr/bin/env bash\n{script}\n')
        (tmp_path / name).chmod(0o755)

    def run(*arguments):
        done = subprocess.run(
            [SLURM, *arguments], capture_output=True, text=True,
            env={'PATH': f'{tmp_path}{os.pathsep}{os.environ["PATH"]}', 'OUT': str(tmp_path),
                 'SLURM_JOB_ID': '1234567', 'SLURM_JOB_NUM_NODES': '4',
                 'SLURM_CPUS_ON_NODE': '64'})
        # That of what it runs.
        assert done.returncode == 3, done.stderr
        variables = dict(line.split('=', 1)
                         for line in (tmp_path / 'env').read_text().splitlines())
        return (tmp_path / 'words').read_text().splitlines(), variables

    return run


def test_slurm_gives_the_whole_allocation_to_ray(submitted):
    words, _ = submitted('bags/a', 'bags/b', 'OUT', '--vocabulary', 'road, car|truck')
    start, command = words[:words.index('--')], words[words.index('--') + 1:]
    assert start == ['symmetric-run', '--address', '192.0.2.7:24567', '--min-nodes', '4',
                     '--num-cpus', '64', '--object-store-memory', '200000000']
    assert command[:3] == TOOL
    options = make_parser().parse_args(command[3:])
    assert options.ray == '192.0.2.7:24567'
    assert options.vocabulary == 'road, car|truck'
    assert (options.bags, options.out) == ([Path('bags/a'), Path('bags/b')], Path('OUT'))


def test_every_allocation_has_a_token_of_its_own(submitted):
    words, first = submitted('IN', 'OUT')
    _, second = submitted('IN', 'OUT')
    assert first['RAY_AUTH_MODE'] == 'token'
    assert len(first['RAY_AUTH_TOKEN']) == 64
    assert first['RAY_AUTH_TOKEN'] != second['RAY_AUTH_TOKEN']
    # What others see of a process.
    assert first['RAY_AUTH_TOKEN'] not in ' '.join(words)
