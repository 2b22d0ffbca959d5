from glob import glob

from setuptools import find_packages, setup

package_name = 'csa_ros'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(include=[package_name, f'{package_name}.*']),
    package_data={f'{package_name}.demo': ['weights/*'], f'{package_name}.web': ['static/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{package_name}']),
        (f'share/{package_name}', ['package.xml']),
        (f'share/{package_name}/launch', glob('launch/*.launch.py')),
        (f'share/{package_name}/config', glob('config/*.*')),
        (f'share/{package_name}/config/cameras', glob('config/cameras/*.yaml')),
        (f'share/{package_name}/config/vocabularies', glob('config/vocabularies/*.yaml')),
        # `ros2 run` and launch look here. Console scripts would not do: pip puts them in bin/,
        # and colcon gives them its own Python instead of the active virtual environment's.
        (f'lib/{package_name}', glob('bin/*')),
    ],
    python_requires='>=3.10',
    # For pip alone: colcon does not read this list, so that a ROS installation keeps the OpenCV
    # and NumPy which package.xml names.
    install_requires=[
        'Pillow',
        'PyYAML',
        'huggingface_hub',
        'numpy>=1.21',
        'open_clip_torch>=3.0',
        'opencv-python-headless>=4.5.4',
        'safetensors',
        'torch>=2.1',
        'tqdm',
    ],
    extras_require={
        'bag': ['av', 'rosbags>=0.11.9'],
        'bench': ['matplotlib', 'psutil'],
        'clipa': ['tokenizers'],
        # Of gs:// and hdfs:// there are gcsfs and pyarrow.
        'cluster': ['ray[default]', 's3fs', 'universal-pathlib'],
        'docs': ['furo', 'myst-parser', 'sphinx'],
        'evaluate': ['matplotlib'],
        'int8': ['onnx', 'onnxruntime', 'onnxscript', 'torch>=2.6'],
        'radio': ['tokenizers'],
        # Where `colcon test` looks for what runs the tests; without it, it runs none.
        'test': ['pytest'],
        'web': ['aiohttp>=3.8'],
    },
    author='The csa_ros authors',
    maintainer='The csa_ros authors',
    maintainer_email='csa_ros@example.org',
    description='Segments camera images by words that can be changed while it runs.',
    license='Apache-2.0',
)
